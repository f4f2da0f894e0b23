"""Two and many domains: unpaired and balanced streams, exact over resume and processes, paired test clips."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from vidiff.data import domains as module
from vidiff.data.domains import DomainDataModule, PairDataModule
from vidiff.data.splits import Split
from vidiff.errors import UsageError

TINY = dict(num_frames=4, resolution=16, batch_size=4, num_workers=0, clips_per_epoch=24, augment="none")


@pytest.fixture(scope="module")
def ab(make_module):
    return make_module("ab", {"trainA": 7, "trainB": 5, "testA": 4, "testB": 4})


@pytest.fixture(scope="module")
def styles(make_module):
    folders = {f"train/{name}": n for name, n in (("cats", 3), ("dogs", 6), ("owls", 4))}
    return make_module("styles", folders | {f"test/{name}": 3 for name in ("cats", "dogs", "owls")})


@pytest.fixture(scope="module")
def make_module(make, tmp_path_factory):
    def build(name, folders):
        root, offset = tmp_path_factory.mktemp(name), 0
        for folder, count in folders.items():
            for n in range(count):
                make.strip(root / folder / f"{n:02d}.png", offset=offset)
                offset += 7
        return root

    return build


def same(a, b):
    assert len(a) == len(b) > 0
    for x, y in zip(a, b):
        assert x.keys() == y.keys() and all(torch.equal(x[k], y[k]) for k in x)


def epochs(loader, count):
    return [batch for _ in range(count) for batch in loader]


def joined(parts):
    return [{k: torch.cat([part[k] for part in ranks]) for k in ranks[0]} for ranks in zip(*parts)]


def placed(kind, root, rank, world, **options):
    class Place:
        training, limit_train_batches = True, 1.0
        global_rank, world_size = rank, world

    data = kind(root, **TINY | options)
    data.trainer = Place()
    return data


def test_pair_batches_hold_both_domains_unpaired(ab):
    data = PairDataModule(ab, **TINY)
    data.setup()
    assert data.domains == ["A", "B"] and data.num_classes is None
    batches = epochs(data.train_dataloader(), 8)
    batch = batches[0]
    assert set(batch) == {f"{k}_{d}" for k in ("clip", "video", "start") for d in "ab"} | {"slot"}
    assert batch["clip_a"].shape == batch["clip_b"].shape == (4, 3, 4, 16, 16) and batch["clip_a"].dtype == torch.uint8
    assert torch.cat([b["slot"] for b in batches]).tolist() == list(range(192))
    a, b = (torch.cat([x[f"video_{k}"] for x in batches]) for k in "ab")
    for videos, count in ((a, 6), (b, 4)):  # one of each is set aside for validation
        assert videos.bincount().max() - videos.bincount().min() <= 1 and len(videos.unique()) == count
    assert len(set(zip(a.tolist(), b.tolist()))) == 24  # every pairing turns up
    starts = [torch.cat([x[f"start_{k}"] for x in batches]).double() for k in "ab"]
    assert abs(torch.corrcoef(torch.stack(starts))[0, 1]) < 0.25


def test_order_of_b_does_not_depend_on_a(ab, make, tmp_path):
    for n in range(3):
        make.strip(tmp_path / "trainA" / f"{n}.png", offset=n)
    for name in ("trainB", "testA", "testB"):
        (tmp_path / name).symlink_to(ab / name)
    whole = TINY | dict(split=Split(0, 0))
    one, two = (epochs(PairDataModule(root, **whole).train_dataloader(), 2) for root in (ab, tmp_path))
    assert all(torch.equal(x["clip_b"], y["clip_b"]) for x, y in zip(one, two))
    other = epochs(PairDataModule(ab, **TINY | dict(seed=1)).train_dataloader(), 2)
    assert not all(torch.equal(x["clip_b"], y["clip_b"]) for x, y in zip(one, other))


@pytest.mark.parametrize("kind, root", [(PairDataModule, "ab"), (DomainDataModule, "styles")])
@pytest.mark.parametrize("workers", [0, 2])
def test_resume_and_processes_are_exact(kind, root, workers, request):
    root = request.getfixturevalue(root)
    straight = epochs(kind(root, **TINY).train_dataloader(), 2)
    for done in (2, 6, 7):
        first = kind(root, **TINY | dict(num_workers=workers)).train_dataloader()
        handed = 0
        while handed < done:
            for _ in first:
                if (handed := handed + 1) == done:
                    state = first.state_dict()
                    break
        first.close()
        second = kind(root, **TINY).train_dataloader()
        second.load_state_dict(state)
        rest = list(second)
        same(rest, straight[done : done + len(rest)])
    same(joined([epochs(placed(kind, root, r, 2, batch_size=2).train_dataloader(), 2) for r in (0, 1)]), straight)
    with pytest.warns(UserWarning, match="not those of the checkpoint"):
        kind(root, **TINY | dict(seed=1)).train_dataloader().load_state_dict(state)


def test_domains_are_balanced(styles):
    data = DomainDataModule(styles, **TINY | dict(batch_size=6, clips_per_epoch=120))
    data.setup()
    assert data.num_classes == 3 and data.domains == ["cats", "dogs", "owls"]
    batches = epochs(data.train_dataloader(), 3)
    assert all(b["label"].bincount().tolist() == [2, 2, 2] for b in batches)
    label, video = (torch.cat([b[k] for b in batches]) for k in ("label", "video"))
    for k in range(3):
        counts = video[label == k].bincount()[video[label == k].unique()]
        assert counts.max() - counts.min() <= 1
    assert (
        set(label[:3].tolist()) == {0, 1, 2} and len({tuple(label[i : i + 3].tolist()) for i in range(0, 99, 3)}) == 6
    )
    entries = data.train_dataset().entries
    assert all(entries[v].domain == data.domains[y] for v, y in zip(video.tolist(), label.tolist()))


def test_domains_can_be_chosen_and_ordered(styles):
    data = DomainDataModule(styles, domains=["owls", "cats"], **TINY)
    assert data.num_classes == 2 and data.describe()["domains"]["test"] == {"owls": 3, "cats": 3}
    batch = next(iter(data.train_dataloader()))
    entries = data.train_dataset().entries
    assert all(
        entries[v].domain == ["owls", "cats"][y] for v, y in zip(batch["video"].tolist(), batch["label"].tolist())
    )
    pair = PairDataModule(styles, domain_a="dogs", domain_b="cats", **TINY)
    assert pair.domains == ["dogs", "cats"] and next(iter(pair.train_dataloader()))["clip_b"].shape[0] == 4


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(), "3 domains .* name domain_a and domain_b"),
        (dict(domain_a="cats"), "both"),
        (dict(domain_a="cats", domain_b="mice"), "no domain 'mice'; it has: cats, dogs, owls"),
        (dict(domain_a="cats", domain_b="cats"), "different domains"),
    ],
)
def test_domains_that_do_not_fit_are_explained(styles, options, message):
    with pytest.raises(UsageError, match=message):
        PairDataModule(styles, **options, **TINY).setup()


def test_a_folder_without_domains_is_explained(make, tmp_path):
    for n in range(4):
        make.strip(tmp_path / f"{n}.png", offset=n)
    with pytest.raises(UsageError, match="trainA/ trainB/"):
        DomainDataModule(tmp_path, **TINY).setup()


def test_transfer_converts_and_augments_each_clip(ab):
    raw = next(iter(placed(PairDataModule, ab, 0, 1).train_dataloader()))
    plain = placed(PairDataModule, ab, 0, 1).on_after_batch_transfer(raw, 0)
    for k in "ab":
        assert torch.allclose(plain[f"clip_{k}"], raw[f"clip_{k}"].float() / 127.5 - 1, atol=1e-6)
        assert plain[f"video_{k}"] is raw[f"video_{k}"]
    twins = {**raw, "clip_b": raw["clip_a"]}
    one = placed(PairDataModule, ab, 0, 1, augment="standard").on_after_batch_transfer(twins, 0)
    assert not torch.allclose(one["clip_a"], plain["clip_a"], atol=1e-2)
    assert not torch.allclose(one["clip_a"], one["clip_b"], atol=1e-2)  # keyed apart
    halves = []
    for rank in (0, 1):
        data = placed(PairDataModule, ab, rank, 2, augment="standard", batch_size=2)
        halves.append(data.on_after_batch_transfer({k: v[2 * rank : 2 * rank + 2] for k, v in twins.items()}, 0))
    for k in ("clip_a", "clip_b"):
        assert torch.allclose(torch.cat([h[k] for h in halves]), one[k], atol=1e-6)


def test_validation_shows_every_video_of_both(ab):
    data = PairDataModule(ab, **TINY, split=Split(0.3, 0))
    batches = list(data.val_dataloader())
    sizes = data.describe()["domains"]["val"]
    assert sizes == {"A": 2, "B": 2}
    assert torch.cat([b["video_a"] for b in batches]).tolist() == [0, 1]
    tests = list(data.test_dataloader())
    assert torch.cat([b["video_b"] for b in tests]).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kind, folder", [(PairDataModule, "shapes_ab"), (DomainDataModule, "shapes_styles")])
def test_the_embedded_sets_have_paired_tests(tmp_path, monkeypatch, kind, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "EMBEDDED_VIDEOS", 4)
    monkeypatch.setattr(module, "EMBEDDED_TESTS", 3)
    data = kind(**TINY)
    data.prepare_data()
    data.setup()
    assert data.describe()["dataset"] == folder and data.paired
    source, target = (0, 1) if kind is PairDataModule else ("plain", "night")
    pairs = data.counterparts("test", data.domain(source), data.domain(target))
    assert len(pairs) == 3 and all(a.path != b.path and a.path[-9:] == b.path[-9:] for a, b in pairs)
    both = list(data.eval_clips("test", 9, seed=1, batch_size=4, domain=source, paired=True, target=target))
    ids, clips, truth = (torch.cat(part) for part in zip(*both))
    assert ids.tolist() == list(range(9)) and clips.shape == truth.shape == (9, 3, 4, 16, 16)

    # Geometry is the same: each clip's counterpart is nearer to its own scene than to the others', after removing
    # each style's mean and contrast.
    def edges(x):
        x = x.double().mean(1)
        x = x - x.mean(0, keepdim=True)
        return torch.nn.functional.normalize(x.flatten(1), dim=1)

    alike = (edges(clips) @ edges(truth).T).numpy()
    assert np.mean(np.diag(alike)) > np.mean(alike) + 0.3
    back = list(data.eval_clips("test", 9, seed=1, batch_size=9, domain=target, paired=True, target=source))[0]
    assert torch.equal(back[1], truth) and torch.equal(back[2], clips)  # same scenes, same frames, either way
    parts = [list(data.eval_clips("test", 9, 1, 5, r, 2, domain=source, paired=True, target=target)) for r in (0, 1)]
    rows = {int(i): (c, t) for part in parts for b in part for i, c, t in zip(*b)}
    assert all(torch.equal(rows[i][0], clips[i]) and torch.equal(rows[i][1], truth[i]) for i in range(9))
    assert next(iter(data.eval_clips("train", 2, domain=source, paired=True)))[2] is None  # training is unpaired
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes = {d: {e.path[-9:] for e in data.videos["train"] if e.domain == d} for d in data.domains}
    assert sum(len(s) for s in scenes.values()) == len(set().union(*scenes.values()))


def test_evaluation_clips_of_domains(styles, ab):
    data = DomainDataModule(styles, **TINY)
    ids, clips, labels = (torch.cat(part) for part in zip(*data.eval_clips("test", 30, seed=2)))
    assert ids.tolist() == list(range(30)) and labels.bincount().tolist() == [10, 10, 10]
    only = [torch.cat(part) for part in zip(*data.eval_clips("test", 6, seed=2, domain="owls"))]
    assert only[2].tolist() == [2] * 6
    assert list(data.eval_clips("test", 4, domain=1, paired=True))[0][2] is None  # equal names, but nobody said so
    said = DomainDataModule(styles, **TINY, paired=True)
    assert list(said.eval_clips("test", 4, domain=1, paired=True))[0][2].shape == (4, 3, 4, 16, 16)
    pair = PairDataModule(ab, **TINY)
    default, b, a = (
        torch.cat([c for _, c, _ in pair.eval_clips("test", 5, **o)]) for o in ({}, dict(domain="b"), dict(domain="a"))
    )
    assert torch.equal(default, b) and not torch.equal(a, b)
    for bad in (dict(domain="mice"), dict(domain=3)):
        with pytest.raises(UsageError, match="no domain"):
            next(data.eval_clips("test", 2, **bad))


def test_positions_are_those_of_the_frames_that_are_shown(tmp_path, styles):
    """Whatever the split, domain, start and stride: the same frames of the same scene, in pixels of the clip."""
    from vidiff.data.shapes.render import render_domains
    from vidiff.data.shapes.scene import render_scene, scene_truth

    render_domains(tmp_path / "set", 3, seed=4, styles=("plain", "night"), frames=20, resolution=32)
    data = PairDataModule(
        tmp_path / "set", num_frames=4, resolution=16, frame_stride=3, num_workers=0, split=Split(0, 0)
    )
    starts = set()
    for split, domain, style in (("train", "a", "plain"), ("test", "b", "night")):
        entries = data.domain_entries(split, data.domain(domain))
        for batch in data.eval_batches(split, 8, seed=1, domain=domain, batch_size=5):
            for clip, video, start, where in zip(*(batch[k] for k in ("clip", "video", "start", "positions"))):
                scene, frames = int(entries[video].path[-9:-4]), start.item() + 3 * np.arange(4)
                painted = render_scene(4, scene, style, 20, 16)[frames].astype(float)  # (T, H, W, C)
                assert np.abs(painted - clip.permute(1, 2, 3, 0).numpy()).mean() < 8
                truth = scene_truth(4, scene, 20, 16)["positions"][frames]
                assert where.shape == (4, 2, 2) and where[:, : truth.shape[1]].numpy() == pytest.approx(truth, abs=1e-4)
                assert where[:, truth.shape[1] :].isnan().all()
                starts.add(start.item())
    assert len(starts) > 2
    assert "positions" not in next(DomainDataModule(styles, **TINY).eval_batches("test", 2))


@pytest.mark.filterwarnings("ignore:cannot read")
def test_a_broken_file_is_replaced_within_its_domain(make, tmp_path):
    for name in "AB":
        for n in range(4):
            make.video(tmp_path / name / f"{n}.mp4", frames=40)
    make.damage(make.noise(tmp_path / "B" / "hole.mp4"))
    options = TINY | dict(num_frames=16, max_bad_fraction=0.5, split=Split(0, 0), batch_size=2)
    data = DomainDataModule(tmp_path, **options)
    batches = epochs(data.train_dataloader(), 2)
    assert all(b["label"].bincount().tolist() == [1, 1] for b in batches) and len(data.bad_files.files) == 1
    data = PairDataModule(tmp_path, **options)
    batches = epochs(data.train_dataloader(), 2)
    assert len(data.bad_files.files) == 1 and "hole.mp4" in list(data.bad_files.files)[0]


def test_paired_reading_of_lengths_that_differ(make, tmp_path):
    for n in range(3):
        make.strip(tmp_path / "trainA" / f"{n}.png"), make.strip(tmp_path / "trainB" / f"{n}.png")
        make.strip(tmp_path / "testA" / f"{n}.png", frames=30)
        make.strip(tmp_path / "testB" / f"{n}.png", frames=20)
    data = PairDataModule(tmp_path, **TINY, paired=True)
    _, a, b = next(data.eval_clips("test", 12, paired=True))
    assert torch.equal(a, b)  # the pictures are numbered: the same frames
    make.strip(tmp_path / "testB" / "deeper" / "0.png", frames=20, offset=3)
    with pytest.raises(UsageError, match="share a name"):
        next(PairDataModule(tmp_path, **TINY, paired=True).eval_clips("test", 12, paired=True))
