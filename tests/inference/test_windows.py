"""Windows in time: they equal the whole, and every frame comes out once, in order."""

from __future__ import annotations

import pytest
import torch
from helpers import joins

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.inference.windows import plan, through_windows
from vidiff.nn.resnet import ResnetGenerator, time_radius


def numbers(count: int) -> list[torch.Tensor]:
    return [torch.full((1, 1, 1), float(i)) for i in range(count)]


@pytest.mark.parametrize("window, trim, fade", [(1, 0, 0), (5, 0, 0), (8, 0, 4), (9, 2, 3), (12, 3, 2)])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 16, 17, 40])
def test_every_frame_comes_out_once_in_order(window, trim, fade, count):
    sizes = []

    def network(clips):
        sizes.append(clips.shape[2])
        return clips

    out = list(through_windows(iter(numbers(count)), network, window, trim, fade))
    assert [round(float(x), 4) for x in out] == [float(i) for i in range(count)]
    assert all(s == min(window, count) for s in sizes)  # the last window is as long as the others


@pytest.mark.parametrize("conv", ["full", "factorized"])
@pytest.mark.parametrize("norm", ["none", "frame"])
def test_windows_equal_the_whole(conv, norm):
    spec = ClipSpec(num_frames=4, resolution=16, width=4)
    network = ResnetGenerator(spec, 1, conv, norm=norm)
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.15)
    window, trim, fade = plan(network, 4, None)
    assert trim == time_radius(network) == 4
    video = torch.rand(3, 2 * window + 5, 16, 20) * 2 - 1
    with torch.no_grad():
        whole = network(video[None])[0]
        parts = through_windows(video.unbind(1), network, window, trim, fade)
        difference = (torch.stack(list(parts), 1) - whole).abs().max()
        near = through_windows(video.unbind(1), network, window, 0, fade)
        wrong = (torch.stack(list(near), 1) - whole).abs().max()
    assert float(difference) < 1e-4 < 1e-3 < float(wrong)


def test_the_fade_rises_evenly():
    """Two windows that answer 0 and 1 meet in a ramp."""
    answers = iter([0.0, 1.0])
    out = list(through_windows(numbers(12), lambda c: torch.full_like(c, next(answers)), 8, 0, 4))
    assert [float(x) for x in out] == pytest.approx([0, 0, 0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


@pytest.mark.parametrize("window, trim, fade", [(5, 0, 0), (8, 0, 4), (9, 2, 3), (20, 8, 2), (16, 0, 8)])
@pytest.mark.parametrize("count", [1, 7, 9, 16, 17, 40])
def test_joins_are_where_another_window_answers(window, trim, fade, count):
    """Each window answers with its number: the output moves from a join that enters to the join that leaves."""
    calls = iter(range(100))
    answers = through_windows(numbers(count), lambda c: torch.full_like(c, float(next(calls))), window, trim, fade)
    out = torch.stack(list(answers)).flatten()
    moves = {int(t) + 1 for t in out.diff().nonzero()}
    at = joins(count, window, trim, fade)
    assert set(at) <= moves
    if fade < window - 2 * trim - fade:  # otherwise every frame is in a fade
        assert {t for t in moves if t - 1 not in moves} | {t for t in moves if t + 1 not in moves} == set(at)


@pytest.mark.parametrize("count", [3, 17, 41, 48])
def test_windows_in_batches_are_those_of_one_by_one(count):
    """Statistics over a window: its frames depend on where it lies, and on no other window of its batch."""
    network, sizes = ResnetGenerator(ClipSpec(num_frames=8, resolution=16, width=4), 1), []
    video = torch.rand(count, 3, 16, 20) * 2 - 1

    def counted(clips):
        sizes.append(len(clips))
        return network(clips)

    with torch.no_grad():
        single, several = (torch.stack(list(through_windows(video, counted, 16, 0, 8, n))) for n in (1, 3))
    assert single.shape == several.shape == video.shape
    assert float((single - several).abs().max()) < 1e-5 < 0.1 < float(single.std())
    windows = 1 + max(0, -(-(count - 16) // 8))
    assert (
        sizes[:windows] == [1] * windows and sum(sizes[windows:]) == windows and max(sizes[windows:]) == min(3, windows)
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_memory_is_windows_and_what_is_between_them(batch):
    read, ahead = 0, []

    def source():
        nonlocal read
        for frame in numbers(300):
            read += 1
            yield frame

    for done, _ in enumerate(through_windows(source(), lambda c: c, 16, 0, 8, batch), 1):
        ahead.append(read - done)
    assert max(ahead) <= 16 + 8 * batch


def test_plans():
    spec = ClipSpec(num_frames=8, resolution=16, width=4)
    assert plan(ResnetGenerator(spec, 2), 8, None) == (16, 0, 8)
    window, trim, fade = plan(ResnetGenerator(spec, 2, norm="none"), 8, None)
    assert trim == 6 and window > 2 * trim + fade
    assert plan(ResnetGenerator(ClipSpec(num_frames=1, resolution=16, width=4), 1), 1, None) == (1, 0, 0)
    with pytest.raises(UsageError, match="more than 14"):
        plan(ResnetGenerator(spec, 2, norm="none"), 8, 10)
