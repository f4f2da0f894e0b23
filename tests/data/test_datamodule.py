"""The datamodule: splits, classes, evaluation clips, records, device-side conversion, and resuming a real Trainer."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import quiet_trainer
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from vidiff.data.datamodule import ClipDataModule
from vidiff.data.loader import ClipLoader
from vidiff.data.splits import Split
from vidiff.errors import RunError, UsageError

pytestmark = pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
TINY = dict(num_frames=4, resolution=16, batch_size=4, num_workers=0, clips_per_epoch=24, augment="none")


class Recorder(LightningModule):
    """Learns nothing; remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen, self.validated = [], []

    def training_step(self, batch, _):
        assert batch["clip"].dtype == torch.float32 and batch["clip"].abs().max() <= 1
        self.seen.append((batch["slot"].tolist(), batch["start"].tolist(), batch["clip"].double().sum().item()))
        return self.weight.sum()

    def validation_step(self, batch, _):
        self.validated.append(batch["video"].tolist())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data, folder, ckpt=None, save=None, **options):
    module = Recorder()
    saver = ModelCheckpoint(folder, "{step}", every_n_train_steps=save, save_top_k=-1) if save else None
    callbacks = [saver] if save else []
    options |= {"enable_checkpointing": bool(save), "callbacks": callbacks, "default_root_dir": folder}
    trainer = quiet_trainer(**options)
    trainer.fit(module, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return module


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", [dict(max_steps=15), dict(max_epochs=3)], ids=["steps", "epochs"])
def test_trainer_resumes_exactly(strips, tmp_path, workers, steps):
    data = TINY | dict(num_workers=workers, augment="light")
    whole = fit(ClipDataModule(strips, **data), tmp_path, save=1, **steps)
    slots = [slot for row in whole.seen for slot in row[0]]
    assert slots == list(range(len(slots))) and len(whole.seen) == (15 if "max_steps" in steps else 18)
    for at in (2, 6, 8, 12):  # in the middle of an epoch, and at its end
        resumed = fit(ClipDataModule(strips, **data), tmp_path, tmp_path / f"step={at}.ckpt", **steps)
        assert resumed.seen == whole.seen[at:], at


@pytest.mark.parametrize("options", [dict(val_check_interval=4), dict(limit_train_batches=4), {}])
def test_trainer_resumes_exactly_around_validation_and_limits(strips, tmp_path, options):
    whole = fit(ClipDataModule(strips, **TINY), tmp_path, save=1, max_steps=14, num_sanity_val_steps=1, **options)
    assert [s for row in whole.seen for s in row[0]] == list(range(56)) and whole.validated
    for at in (3, 4, 6, 8, 12):
        resumed = fit(ClipDataModule(strips, **TINY), tmp_path, tmp_path / f"step={at}.ckpt", max_steps=14, **options)
        assert resumed.seen == whole.seen[at:], at


def test_fractional_limit_is_refused(strips, tmp_path):
    with pytest.raises(UsageError, match="whole number of batches"):
        fit(ClipDataModule(strips, **TINY), tmp_path, max_steps=2, limit_train_batches=0.5)


def test_augmentation_is_keyed_by_slot_and_process(strips, monkeypatch):
    class FakeTrainer:
        training, global_rank, world_size = True, 0, 1
        limit_train_batches = 1.0

    def batch_of(rank, world, size, training=True):
        data = ClipDataModule(strips, **TINY | dict(augment="standard", batch_size=size))
        trainer = FakeTrainer()
        trainer.global_rank, trainer.world_size, trainer.training = rank, world, training
        data.trainer = trainer
        loader = data.train_dataloader()
        assert isinstance(loader, ClipLoader) and (loader.rank, loader.world) == (rank, world)
        raw = list(loader)[1]
        return raw, data.on_after_batch_transfer(raw, 0)

    (raw, one), (_, low), (_, high) = batch_of(0, 1, 4), batch_of(0, 2, 2), batch_of(1, 2, 2)
    assert torch.allclose(one["clip"], torch.cat([low["clip"], high["clip"]]), atol=1e-6)
    plain = raw["clip"].float() / 127.5 - 1
    assert not torch.allclose(one["clip"], plain, atol=1e-2)
    assert one["clip"].min() >= -1 and one["clip"].max() <= 1
    assert torch.allclose(batch_of(0, 1, 4, training=False)[1]["clip"], plain, atol=1e-6)
    assert all(one[k] is raw[k] for k in ("label", "video", "start", "slot"))


def test_splits_do_not_depend_on_the_clip_length(make, tmp_path):
    for n in range(20):
        make.strip(tmp_path / f"{n:02d}.png", frames=5 if n % 4 == 0 else 30, offset=n)
    short = ClipDataModule(tmp_path, **TINY)
    long = ClipDataModule(tmp_path, **TINY | dict(num_frames=16))
    assert [len(v) for v in short.videos.values()] == [16, 2, 2]
    with pytest.warns(UserWarning, match="5 of 20 videos are too short .* need 16, the videos have 5 to 30"):
        kept = long.videos
    for name, part in kept.items():
        assert part == [e for e in short.videos[name] if e.num_frames >= 16]
    with pytest.raises(UsageError, match="16 frames at stride 3 need 46, the videos have 5 to 30"):
        ClipDataModule(tmp_path, **TINY | dict(num_frames=16, frame_stride=3)).setup()


def test_num_classes(strips, make, tmp_path):
    for asked, found in ((None, None), ("auto", 3), (3, 3)):
        assert ClipDataModule(strips, **TINY, num_classes=asked).num_classes == found
    with pytest.raises(UsageError, match="num_classes=4, but .* has 3 classes: class0, class1, class2"):
        ClipDataModule(strips, **TINY, num_classes=4).setup()
    with pytest.raises(UsageError, match="auto"):
        ClipDataModule(strips, **TINY, num_classes="many")
    make.strip(tmp_path / "a.png")
    for asked in ("auto", 2):
        with pytest.raises(UsageError, match="no class folders"):
            _ = ClipDataModule(tmp_path, **TINY, num_classes=asked).num_classes


def test_eval_clips_are_keyed_by_id(strips):
    data = ClipDataModule(strips, **TINY)
    gathered = [torch.cat(parts) for parts in zip(*data.eval_clips("train", 35, seed=1, batch_size=8))]
    ids, clips, labels = gathered
    assert ids.tolist() == list(range(35)) and clips.shape == (35, 3, 4, 16, 16) and clips.dtype == torch.uint8
    assert labels.dtype == torch.int64 and set(labels.tolist()) == {0, 1, 2}
    rows = {}
    for rank in range(3):
        for i, c, y in data.eval_clips("train", 35, seed=1, batch_size=5, rank=rank, world=3):
            rows.update({int(k): (clip, int(label)) for k, clip, label in zip(i, c, y)})
    assert sorted(rows) == list(range(35))
    assert all(torch.equal(rows[k][0], clips[k]) and rows[k][1] == labels[k] for k in range(35))
    videos = torch.cat([batch["video"] for batch in data.eval_batches("train", 35, seed=1)]).tolist()
    assert videos == data.eval_videos("train", 35, seed=1) != data.eval_videos("train", 35, seed=2)
    other = torch.cat([c for _, c, _ in data.eval_clips("train", 35, seed=2)])
    assert not torch.equal(other, clips)
    fewer = torch.cat([c for _, c, _ in data.eval_clips("train", 20, seed=1)])
    assert torch.equal(fewer, clips[:20])  # clip i does not depend on how many are asked for
    for options in (("train", 0), ("dev", 3)):
        with pytest.raises(UsageError):
            next(iter(data.eval_clips(*options)))


@pytest.mark.filterwarnings("ignore:cannot read")
def test_eval_clips_replace_what_cannot_be_read(make, tmp_path):
    for n in range(5):
        make.video(tmp_path / f"{n}.mp4", frames=40)
    make.damage(make.noise(tmp_path / "hole.mp4"))
    data = ClipDataModule(
        tmp_path, **TINY | dict(num_frames=16), split=Split(0, 0), max_bad_fraction=0.5, multiprocessing_context=None
    )
    ids = torch.cat([i for i, _, _ in data.eval_clips("train", 12)])
    assert ids.tolist() == list(range(12)) and len(data.bad_files.files) == 1
    path = data.bad_files.write(tmp_path / "run")
    assert path.name == "bad_files.csv" and "hole.mp4" in path.read_text()


def test_bad_files_found_while_listing(make, strips, tmp_path):
    for n in range(4):
        make.strip(tmp_path / f"{n}.png", offset=n)
    (tmp_path / "broken.mp4").write_text("no video")
    with pytest.raises(RunError, match=r"1 of 5 files(.|\n)*broken.mp4: a text file"):
        with pytest.warns(UserWarning, match="broken.mp4"):
            ClipDataModule(tmp_path, **TINY).setup()
    data = ClipDataModule(tmp_path, **TINY, max_bad_fraction=0.2)
    with pytest.warns(UserWarning, match="1 of 5 files cannot be used"):
        data.setup()
    assert "broken.mp4,index,1,a text file" in data.bad_files.write(tmp_path / "run").read_text()
    assert ClipDataModule(strips, **TINY).bad_files.write(tmp_path / "none") is None
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match=r"no usable video(.|\n)*folders of frames"):
        ClipDataModule(tmp_path / "empty", **TINY).setup()


def test_describe_is_plain_and_complete(strips):
    data = ClipDataModule(strips, **TINY)
    about = data.describe()
    assert json.loads(json.dumps(about)) == about
    assert about["videos"] == {"train": 10, "val": 1, "test": 1} and about["resolution"] == 16
    assert about["fingerprint"] == data.fingerprint and about["decode"] == "crop; Pillow bilinear (antialiased)"
    assert not about["split"]["val_is_train"] and str(strips.parent) not in json.dumps(about)


def test_val_and_test_loaders_show_each_video_once(strips):
    data = ClipDataModule(strips, **TINY, split=Split(0.3, 0.3))
    for loader, name in ((data.val_dataloader(), "val"), (data.test_dataloader(), "test")):
        assert torch.cat([b["video"] for b in loader]).tolist() == list(range(len(data.videos[name])))


def test_embedded_set_is_rendered_once(tmp_path, monkeypatch):
    from vidiff.data import datamodule

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datamodule, "EMBEDDED_VIDEOS", 8)
    data = ClipDataModule(**TINY, num_classes="auto")
    data.prepare_data()
    stamp = (tmp_path / "data" / "shapes").stat().st_mtime_ns
    data.setup()
    assert data.num_classes == 4 and data.describe()["dataset"] == "shapes"
    assert next(iter(data.train_dataloader()))["clip"].shape == (4, 3, 4, 16, 16)
    assert (tmp_path / "data" / "shapes").stat().st_mtime_ns == stamp


@pytest.mark.parametrize("augment, kept", [("none", True), ("light", True), ("standard", False), ("strong", False)])
def test_speed_is_dropped_where_augmentation_changes_it(tmp_path, monkeypatch, augment, kept):
    from vidiff.data import datamodule

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datamodule, "EMBEDDED_VIDEOS", 8)
    data = ClipDataModule(**TINY | dict(augment=augment))
    data.prepare_data()
    data.setup()
    batch = next(iter(data.train_dataloader()))
    assert batch["speed"].shape == (4,)
    assert ("speed" in data.to_float(batch, augment=True)) == kept
    assert "speed" in data.to_float(batch, augment=False)
