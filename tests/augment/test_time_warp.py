"""Time warps: exact cases, monotone maps, gradients, and life among Kornia's own operators."""

from __future__ import annotations

import kornia.augmentation as K
import pytest
import torch

from vidiff.augment import FastMotion, FrameSkip, Reversal, ShuffleSegments, SlowMotion, SpeedCurve, build_augment
from vidiff.augment.time_warp import fold, sample_time
from vidiff.errors import UsageError

WARPS = [SlowMotion, FastMotion, FrameSkip, SpeedCurve, Reversal, ShuffleSegments]


def clips(b=3, c=2, t=7, h=4, w=5):
    return torch.rand(b, c, t, h, w, generator=torch.Generator().manual_seed(3))


def reference(clip, time):
    """Frame by frame, in float64."""
    out = torch.empty(*clip.shape[:2], time.shape[1], *clip.shape[3:], dtype=torch.float64)
    for i in range(len(clip)):
        for k, t in enumerate(time[i].tolist()):
            low = int(t)
            high = min(low + 1, clip.shape[2] - 1)
            out[i, :, k] = clip[i, :, low].double() * (1 - (t - low)) + clip[i, :, high].double() * (t - low)
    return out


def test_sample_time_against_reference():
    clip, time = clips(), torch.rand(3, 9, generator=torch.Generator().manual_seed(1)) * 6
    assert torch.allclose(sample_time(clip, time).double(), reference(clip, time), atol=1e-6)
    assert torch.equal(sample_time(clip, time, "nearest"), reference(clip, (time + 0.5).floor()).float())


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_identity_and_whole_steps_are_exact(mode):
    clip = clips()
    assert torch.equal(sample_time(clip, torch.arange(7.0).expand(3, 7), mode), clip)
    assert torch.equal(sample_time(clip, torch.arange(0, 7.0, 2).expand(3, 4), mode), clip[:, :, ::2])


def test_neutral_operators_are_the_identity():
    clip = clips()
    for op in (
        SlowMotion((1, 1), p=1.0),
        FastMotion((1, 1), p=1.0),
        FrameSkip((1, 1), p=1.0),
        SpeedCurve((0, 0), p=1.0),
    ):
        assert torch.allclose(build_augment([op])(clip, (1,)), clip, atol=1e-5, rtol=0)
    assert torch.equal(build_augment([ShuffleSegments((1, 1), p=1.0)])(clip, (1,)), clip)


def test_reverse_twice_is_identity():
    clip = clips()
    once = build_augment([Reversal(p=1.0)])(clip, (1,))
    assert torch.equal(once, clip.flip(2))
    assert torch.equal(build_augment([Reversal(p=1.0), Reversal(p=1.0)])(clip, (1,)), clip)


def test_skip_two_is_exact_up_to_the_end():
    clip = clips()
    held = build_augment([FrameSkip((2, 2), "hold", p=1.0)])(clip, (1,))
    assert torch.equal(held, clip[:, :, [0, 2, 4, 6, 6, 6, 6]])
    back = build_augment([FrameSkip((2, 2), "reflect", p=1.0)])(clip, (1,))
    assert torch.equal(back, clip[:, :, [0, 2, 4, 6, 4, 2, 0]])


def test_fold_stays_inside():
    time = torch.linspace(0, 40, 81)[None]
    assert fold(time, 6, "reflect").min() == 0 and fold(time, 6, "reflect").max() == 5
    assert fold(time, 1, "reflect").abs().max() == 0


@pytest.mark.parametrize("frames", [1, 2, 16])
@pytest.mark.parametrize(
    "op", [SlowMotion((0.2, 1)), FastMotion((1, 3), "hold"), FrameSkip((1, 3), "hold"), SpeedCurve((0, 3))]
)
def test_maps_are_monotone_and_inside(op, frames):
    torch.manual_seed(0)
    time = op.times(200, frames)
    assert time.shape == (200, frames)
    assert time.min() >= 0 and time.max() <= frames - 1
    assert (time.diff(dim=1) >= 0).all()
    if frames > 2 and not isinstance(op, FrameSkip):
        assert len(time[:, min(2, frames - 1)].unique()) > 100  # each clip has its own


def test_speed_ranges_are_kept():
    torch.manual_seed(0)
    slow = SlowMotion((0.3, 0.8)).times(500, 16).diff(dim=1)
    assert slow.min() > 0.3 - 1e-4 and slow.max() < 0.8 + 1e-4
    curve = SpeedCurve((1, 1)).times(500, 16)
    assert torch.equal(curve[:, 0], torch.zeros(500)) and torch.allclose(curve[:, -1], torch.full((500,), 15.0))
    speeds = curve.diff(dim=1)
    assert (speeds.amax(1) / speeds.amin(1)).max() <= 4 + 1e-3  # one octave up over one octave down
    assert (speeds.amax(1) / speeds.amin(1)).max() > 2


@pytest.mark.parametrize("kind", WARPS)
def test_gradients_of_both_orders(kind):
    torch.manual_seed(0)
    op = kind(p=1.0)
    time = op.times(2, 5)
    clip = clips(2, 1, 5, 2, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: sample_time(x, time, op.flags["mode"]), clip)
    assert torch.autograd.gradgradcheck(lambda x: sample_time(x, time, op.flags["mode"]) ** 2, clip)


def test_inside_kornias_own_containers():
    clip = clips()
    seq = K.AugmentationSequential(Reversal(p=1.0), K.RandomHorizontalFlip3D(p=1.0), data_keys=["input"])
    assert torch.equal(seq(clip), clip.flip(2).flip(4))
    assert torch.equal(Reversal(p=1.0)(clip), clip.flip(2))  # and alone


def test_bad_settings_name_what_is_accepted():
    for make in (
        lambda: SlowMotion((0.5, 2.0)),
        lambda: FastMotion((0.5, 2.0)),
        lambda: SpeedCurve(mode="cubic"),
        lambda: FastMotion(ends="loop"),
        lambda: ShuffleSegments((0, 2)),
    ):
        with pytest.raises(UsageError, match="accepted"):
            make()
