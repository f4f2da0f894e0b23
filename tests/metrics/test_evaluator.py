"""The Evaluator: values, floors, processes, stored features, refusals, protocols."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from vidiff.errors import RunError, UsageError
from vidiff.metrics import Evaluator, RandomConv3d, check_comparable, resolve_metrics
from vidiff.metrics.frechet import frechet_from_features
from vidiff.metrics.pixels import FrameDifference
from vidiff.metrics.protocol import Protocol, expand
from vidiff.metrics.uncertainty import estimate

NAMES = ["clip_distance", "fvd_random", "kvd_random", "prdc_random", "motion", "diversity", "nearest"]


def clips(n, seed, low=0, high=256, size=16, frames=4):
    g = torch.Generator().manual_seed(seed)
    ground = torch.randint(low, high, (n, 3, 1, size, size), generator=g)
    steps = torch.randint(-20, 21, (n, 3, frames, size, size), generator=g)
    return (ground + steps).clamp(0, 255).to(torch.uint8)


def batches(x, size=5, ids=None):
    ids = list(range(len(x))) if ids is None else ids
    for i in range(0, len(x), size):
        yield ids[i : i + size], x[i : i + size], torch.zeros(1)


@pytest.fixture(scope="module")
def metrics():
    return resolve_metrics(NAMES)


@pytest.fixture(scope="module")
def sets():
    return clips(40, 1), clips(39, 2, 30, 200)


@pytest.fixture(scope="module")
def results(metrics, sets):
    return Evaluator(metrics, lambda: batches(sets[0])).evaluate(batches(sets[1]), expected=39)


def test_values_are_those_of_the_parts(results, sets):
    net = RandomConv3d()
    assert list(results) == expand(NAMES)
    assert results["fvd_random"]["value"] == pytest.approx(frechet_from_features(net(sets[0]), net(sets[1])), rel=1e-5)
    motion = [FrameDifference()(s).double().mean().item() for s in sets]
    assert results["motion"]["value"] == pytest.approx(motion[1] / motion[0], rel=1e-9)
    assert results["motion"]["real"] == pytest.approx(motion[0]) and results["motion"]["fake"] == pytest.approx(
        motion[1]
    )
    assert 0 < results["diversity"]["value"] < 1  # a narrower range of colours
    json.dumps(results, allow_nan=False)


def test_what_every_result_says(results):
    for name, r in results.items():
        p = r["protocol"]
        assert {"value", "floor", "protocol", "hash", "official", "low_n"} <= set(r)
        assert p["metric"] == name and p["n_real"] == 40 and p["n_fake"] == 39 and p["resolution"] == "16x16"
        assert p["num_frames"] == 4 and len(p["sha256"]) == 64 and not r["official"]
        assert r["hash"] == Protocol(**p).hash
        assert r["floor"] is not None
        assert not (name.startswith(("fvd", "fid")) and r["official"] is False and name != "fvd_random")
    assert results["fvd_random"]["protocol"]["floor_rule"] == "half of real against the other half"
    assert results["fvd_random"]["protocol"]["floor_n"] == 20
    assert results["fvd_random"]["low_n"]  # 39 clips, 112 features
    assert len({r["hash"] for r in results.values()}) == len(results)


def test_batches_and_order_do_not_matter(results, metrics, sets):
    order = torch.randperm(39, generator=torch.Generator().manual_seed(0))
    shuffled = list(batches(sets[1][order], 7, order.tolist()))
    again = Evaluator(metrics, lambda: batches(sets[0], 40)).evaluate(shuffled)
    for name, r in results.items():
        assert again[name]["value"] == pytest.approx(r["value"], rel=1e-4, abs=1e-6), name
        assert again[name]["hash"] == r["hash"]


def test_two_shards_with_an_odd_number_equal_the_whole(metrics, sets):
    """Rank 0 holds the even ids, rank 1 the odd ones and a repeated clip, as a padding sampler would."""
    real, fake = sets
    parts = {"real": [range(0, 40, 2), range(1, 40, 2)], "fake": [range(0, 39, 2), [*range(1, 39, 2), 0]]}
    single = 1  # the same batches everywhere, so that only the merging is tested
    whole = Evaluator(metrics, lambda: batches(real, single)).evaluate(batches(fake, single), expected=39)
    rows = {}

    def recorder(rank):
        calls = iter(range(1000))

        def gather(ids, features):
            rows.setdefault(next(calls), {})[rank] = (ids, features)
            return ids, features

        return gather

    def shard(rank, gather, expected):
        def mine(kind, x):
            ids = list(parts[kind][rank])
            return batches(x[ids], single, ids)

        evaluator = Evaluator(metrics, lambda: mine("real", real), gather=gather)
        return evaluator.evaluate(mine("fake", fake), expected=expected)

    for rank in (0, 1):
        shard(rank, recorder(rank), None)
    for rank in (0, 1):
        calls = iter(range(1000))

        def both(ids, features, calls=calls):
            got = rows[next(calls)]
            return torch.cat([got[0][0], got[1][0]]), torch.cat([got[0][1], got[1][1]])

        merged = shard(rank, both, 39)
        for name, r in whole.items():
            assert merged[name]["value"] == pytest.approx(r["value"], rel=1e-10, abs=1e-12), name
            assert merged[name]["floor"] == pytest.approx(r["floor"], rel=1e-10, abs=1e-12), name
            assert merged[name]["hash"] == r["hash"]


def test_held_out_clips_are_the_floor(metrics, sets):
    held = clips(50, 3)
    net = RandomConv3d()
    r = Evaluator(metrics, lambda: batches(sets[0]), held_out=lambda: batches(held)).evaluate(batches(sets[1]))
    assert r["fvd_random"]["protocol"]["floor_rule"] == "real against held-out"
    assert r["fvd_random"]["protocol"]["floor_n"] == 39  # as many as generated
    index = np.sort(np.random.Generator(np.random.PCG64(0)).permutation(50)[:39])
    assert r["fvd_random"]["floor"] == pytest.approx(frechet_from_features(net(sets[0]), net(held[index])), rel=1e-5)


def test_nearest_finds_a_generator_that_copies(metrics, sets):
    train, held = sets[0], clips(20, 5)
    only = [m for m in metrics if m.name == "nearest"]
    evaluator = Evaluator(
        only, lambda: batches(held), held_out=lambda: batches(clips(20, 6)), train=lambda: batches(train)
    )
    copies, fresh = evaluator.evaluate(batches(train[:10])), evaluator.evaluate(batches(clips(10, 7)))
    assert copies["nearest"]["value"] < 1e-6 < fresh["nearest"]["value"]
    assert fresh["nearest"]["value"] == pytest.approx(fresh["nearest"]["floor"], rel=0.1)
    assert fresh["nearest"]["protocol"]["n_real"] == len(train)


def test_unseen_clips_are_what_copies_and_what_can_be_told_apart_are_judged_by(sets):
    train, unseen, asked = sets[0], clips(40, 5), resolve_metrics(["memorized", "detectability", "motion"])
    evaluator = Evaluator(asked, lambda: batches(train), unseen=lambda: batches(unseen), fields={"split": "train"})
    copies, fresh = evaluator.evaluate(batches(train)), evaluator.evaluate(batches(clips(40, 7)))
    assert copies["memorized"]["value"] == 1 and abs(fresh["memorized"]["value"] - 0.5) < 0.25
    assert copies["memorized"]["floor"] == 0.5 and copies["memorized"]["protocol"]["n_real"] == 40
    splits = {name: r["protocol"]["split"] for name, r in fresh.items()}
    assert splits == {"memorized": "train", "detectability": "unseen", "motion": "train"}
    again = Evaluator(asked[1:2], lambda: batches(unseen)).evaluate(batches(train))
    assert copies["detectability"]["value"] == again["detectability"]["value"]
    with pytest.raises(UsageError, match="were not trained on"):
        Evaluator(asked, lambda: batches(train))


def test_a_still_and_a_collapsed_generator_show(metrics, sets):
    real = sets[0]
    still = real[:, :, :1].expand(-1, -1, 4, -1, -1).contiguous()
    one = real[:1].expand(30, -1, -1, -1, -1)
    evaluator = Evaluator(metrics, lambda: batches(real))
    assert evaluator.evaluate(batches(still))["motion"]["value"] == 0
    assert evaluator.evaluate(batches(one))["diversity"]["value"] == 0
    unmoving = Evaluator([m for m in metrics if m.name == "motion"], lambda: batches(still))
    assert unmoving.evaluate(batches(real))["motion"]["value"] is None


def test_evaluation_leaves_the_random_state_alone(sets):
    torch.manual_seed(3)
    np.random.seed(3)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    names = ["auto", *NAMES]
    Evaluator(resolve_metrics(names, num_frames=4), lambda: batches(sets[0])).evaluate(batches(sets[1]))
    assert torch.equal(torch.get_rng_state(), state)
    assert (np.random.get_state()[1] == numpy_state).all()


def test_standard_errors(metrics, sets):
    r = Evaluator(metrics, lambda: batches(sets[0]), blocks=8).evaluate(batches(sets[1]))
    net = RandomConv3d()
    real, fake = net(sets[0]), net(sets[1])
    expected = estimate(real, fake, frechet_from_features, blocks=8).se  # of both sides
    assert r["fvd_random"]["se"] == pytest.approx(expected, rel=1e-3)
    assert all(v["se"] > 0 for name, v in r.items() if name != "recall_random")  # that one is 0 whatever is left out
    videos = np.arange(len(sets[0])) // 2
    paired = Evaluator(metrics, lambda: batches(sets[0]), blocks=8, real_videos=videos).evaluate(batches(sets[1]))
    assert paired["fvd_random"]["se"] == pytest.approx(
        estimate(real, fake, frechet_from_features, videos, blocks=8).se, rel=1e-3
    )
    one = Evaluator(metrics, lambda: batches(sets[0]), blocks=8, real_videos=[0] * 40).evaluate(batches(sets[1]))
    assert one["fvd_random"]["se"] is None and one["nearest"]["se"] == r["nearest"]["se"]
    few = Evaluator(metrics, lambda: batches(sets[0]), blocks=8).evaluate(batches(sets[1][:12]))
    assert few["fvd_random"]["se"] is None


def test_real_features_are_computed_once_and_cached_by_content(metrics, sets, tmp_path):
    calls = []

    def real():
        calls.append(1)
        return batches(sets[0])

    def make(fingerprint="abc", seed=0):
        return Evaluator(metrics, real, cache=tmp_path, fingerprint=fingerprint, fields={"seed": seed})

    first = make()
    a, b = first.evaluate(batches(sets[1])), first.evaluate(batches(sets[1]))
    assert len(calls) == 1 and a == b
    assert make().evaluate(batches(sets[1])) == a
    assert len(calls) == 1
    make(fingerprint="other").evaluate(batches(sets[1]))
    make(seed=1).evaluate(batches(sets[1]))
    assert len(calls) == 3
    files = sorted(tmp_path.glob("*"))
    assert files and all(f.suffix == ".npz" for f in files)
    for f in files:  # damaged files are recomputed
        f.write_bytes(f.read_bytes()[:100])
    assert make().evaluate(batches(sets[1])) == a
    assert len(calls) == 4
    Evaluator(metrics, real, cache=tmp_path / "unused").prepare()
    assert not (tmp_path / "unused").exists()  # without a fingerprint nothing is stored


@pytest.mark.parametrize(
    ("fake", "expected", "error", "text"),
    [
        ([], None, RunError, "no generated clips"),
        (clips(6, 0), 7, RunError, "expected 7 generated clips with different ids, got 6"),
        (clips(6, 0, size=20), None, UsageError, r"\(4, 20, 20\), real ones \(4, 16, 16\)"),
        (clips(6, 0).float(), None, ValueError, "uint8"),
    ],
)
def test_refusals(metrics, sets, fake, expected, error, text):
    with pytest.raises(error, match=text):
        Evaluator(metrics, lambda: batches(sets[0])).evaluate(batches(fake), expected)


def test_unknown_fields_and_wrong_subsets_are_refused(metrics, sets):
    with pytest.raises(UsageError, match="unknown protocol fields.*'sead'.*seed"):
        Evaluator(metrics, lambda: batches(sets[0]), fields={"sead": 1})


def test_values_of_different_protocols_are_not_compared(results):
    p = results["fvd_random"]["protocol"]
    check_comparable([p, dict(p), Protocol(**p)])
    # What does not change the value may differ.
    check_comparable([p, {**p, "floor_rule": "real against held-out", "floor_n": 3}])
    with pytest.raises(UsageError, match="seed: None against 1") as info:
        check_comparable([p, {**p, "seed": 1}])
    assert "n_fake" not in str(info.value)
    with pytest.raises(UsageError, match="1 and 3.*n_fake: 39 against 256; sha256"):
        check_comparable([p, p, {**p, "n_fake": 256, "sha256": "0" * 64}])
    with pytest.raises(UsageError, match="metric: 'fvd_random' against 'kvd_random'"):
        check_comparable([p, results["kvd_random"]["protocol"]])
