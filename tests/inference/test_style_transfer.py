"""The transfer of single frames, with a small random network in place of a trained one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from films import ramp
from stand_ins import StyleStandIn as Stand

from vidiff.consistency import StyleWeights, gram, style_loss
from vidiff.flow import flow_method
from vidiff.inference.style_measure import StyleMeasure
from vidiff.inference.style_steps import Steps, signed
from vidiff.inference.style_transfer import Optimization, color_map
from vidiff.inference.stylize import frame_stylizer

STEPS = Steps(64)


def stripes(side: int = 48) -> torch.Tensor:
    """Red and yellow stripes: (1, 3, side, side)."""
    x = torch.ones(1, 3, side, side)
    x[:, 1] = torch.where(torch.arange(side) // 3 % 2 == 0, 1.0, -1.0)
    x[:, 2] = -1.0
    return x


def made(frames: np.ndarray, flow=None, **how) -> tuple[np.ndarray, dict[str, float]]:
    measure = StyleMeasure(Stand(), [stripes()])
    optimization = Optimization(
        Stand(), [stripes()], how.pop("weights", StyleWeights()), how.pop("iterations", 8), flow
    )
    return np.stack(list(frame_stylizer(optimization, STEPS, measure)(frames))), measure.values()


def test_colors_get_the_mean_and_covariance_of_the_palette():
    source, style = signed(ramp(1, 30, 40)[0]), 0.3 * signed(ramp(1, 40, 20)[0].transpose(1, 0, 2)[..., ::-1].copy())
    recolor = color_map(source, style[0].flatten(1))
    out = recolor(source)[0].flatten(1).double()
    palette = style[0].flatten(1).double()
    torch.testing.assert_close(out.mean(1), palette.mean(1), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(out), torch.cov(palette), atol=2e-3, rtol=0)
    same = color_map(source, source[0].flatten(1))
    torch.testing.assert_close(same(source), source, atol=1e-4, rtol=0)


def test_the_style_is_reached_and_its_weight_says_how_far():
    frames = ramp(1, 40, 48)
    ratios, cosines = [], []
    for weight in (0.1, 1.0, 20.0):
        _, values = made(frames, weights=StyleWeights(style=weight))
        ratios.append(values["gram_ratio"])
        cosines.append(values["content_cosine"])
    assert ratios[0] > ratios[1] > ratios[2] and ratios[2] < 0.6
    assert cosines[0] > cosines[2] and all(0.0 < c <= 1.0 for c in cosines)


def test_a_film_flickers_less_with_the_frame_before_than_without():
    rng = np.random.default_rng(0)
    frames = np.stack([(f + rng.normal(0, 6, f.shape)).clip(0, 255) for f in ramp(5, 40, 48)]).astype(np.uint8)
    flow = flow_method("dis")
    warped, alone = made(frames, flow)[1], made(frames, None)[1]
    assert warped["warp_ratio"] < 0.8 * alone["warp_ratio"] and warped["gram_ratio"] < 0.6


def test_twice_the_same_and_one_frame_after_the_other():
    frames, flow = ramp(3, 40, 48), flow_method("dis")
    whole = made(frames, flow)[0]
    assert np.array_equal(whole, made(frames, flow)[0])
    assert np.array_equal(whole[:2], made(frames[:2], flow)[0])  # nothing is known of later frames


def test_a_cut_leaves_no_ghost():
    """The first frame of a shot is what it is without the shots before."""
    first, second = ramp(2, 40, 48), 255 - ramp(2, 40, 48)[:, ::-1, ::-1]
    flow = flow_method("dis")
    joined = made(np.concatenate([first, second]), flow)[0]
    assert np.array_equal(joined[2:], made(second, flow)[0])
    assert not np.array_equal(made(np.concatenate([first, first]), flow)[0][2:], joined[:2])


def test_the_measure_knows_the_source_and_the_style():
    measure = StyleMeasure(Stand(), [stripes()])
    frames = ramp(3, 40, 48)
    for image in frames:
        measure.add(image, signed(image), signed(image))
    assert measure.values() == pytest.approx({"gram_ratio": 1.0, "content_cosine": 1.0, "warp_ratio": 1.0})
    best = StyleMeasure(Stand(), [stripes()])
    best.add(frames[0], signed(frames[0]), stripes()[:, :, :40])
    assert best.values()["gram_ratio"] < 0.1 and "warp" not in best.summary()
    assert float(style_loss(Stand()(stripes()).layers, [gram(m) for m in Stand()(stripes()).layers])) == 0.0
