"""Controls: rubbish in the way they say, and which of them a model is ahead of."""

from __future__ import annotations

import torch

from vidiff.metrics.controls import CONTROLS, LEAD, compared, controls, lead_of, standing
from vidiff.metrics.pixels import FrameDifference


def test_standing_is_that_of_the_worst_run():
    names = [c.name for c in CONTROLS]
    assert len(set(names)) == len(names) and {c.shows for c in CONTROLS} == {"rubbish", "limit"}
    ahead, behind = standing([(1.0, {"untrained": 2.0, "frames_frozen": 0.5}), (3.0, {"untrained": 2.0})])
    assert ahead == [] and [c.name for c in behind] == ["untrained", "frames_frozen"]
    ahead, behind = standing([(1.0, {"untrained": 2.0, "frames_frozen": 1.0, "grey_noise": None})])
    assert [c.name for c in ahead] == ["untrained"] and [c.name for c in behind] == ["frames_frozen"]


def test_reports_without_the_lead_metric_are_compared_by_the_former_one():
    assert lead_of(["fvd_random", "motion"]) == lead_of(["fvd_random_a2b"]) == "fvd_random"
    assert lead_of(["fvd_random", LEAD]) == lead_of([f"{LEAD}_a2b", "fvd_random_a2b"]) == LEAD == "clip_distance"
    old = {"metrics": {"fvd_random": {"value": 1.0}}, "controls": {"untrained": {"fvd_random": 2.0}}}
    both = {name: {"value": 3.0} for name in ("fvd_random", LEAD)}
    new = {"metrics": both, "controls": {"untrained": {"fvd_random": 2.0, LEAD: 4.0}}}
    assert compared(old) == [(1.0, {"untrained": 2.0})] and compared(new) == [(3.0, {"untrained": 4.0})]


def test_controls_are_rubbish_in_the_way_they_say():
    real = torch.randint(0, 256, (5, 3, 16, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    made = controls(real, seed=3)
    assert list(made) == [c.name for c in CONTROLS if c.make is not None] and len(made) == 5
    for clips in made.values():
        assert clips.shape == real.shape and clips.dtype == torch.uint8
    assert all(torch.equal(a, b) for a, b in zip(made.values(), controls(real, seed=3).values()))
    assert not torch.equal(made["grey_noise"], controls(real, seed=4)["grey_noise"])
    noise = made["grey_noise"]
    assert torch.equal(noise[:, 0], noise[:, 2]) and 120 < noise.float().mean() < 135
    for name in ("mean_frame_frozen", "frames_frozen"):
        assert FrameDifference()(made[name]).max() == 0
    mean = real.double().mean((0, 2)).round()
    assert torch.equal(made["mean_frame_frozen"][2, :, 5].double(), mean)
    assert any(torch.equal(made["one_clip_repeated"][0], clip) for clip in real)
    for i in range(5):
        frames = sorted(bytes(f.numpy().tobytes()) for f in real[i].transpose(0, 1).contiguous())
        mixed = sorted(bytes(f.numpy().tobytes()) for f in made["frames_shuffled"][i].transpose(0, 1).contiguous())
        assert frames == mixed
        assert any(torch.equal(made["frames_frozen"][i, :, 0], real[i, :, t]) for t in range(16))
