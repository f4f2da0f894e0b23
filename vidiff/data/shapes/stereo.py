"""Scenes of the embedded set for two eyes, at distances that are known: the background behind, the sprites in front.

A scene of this set differs from the same one of the flat set by the shifts alone. numpy only.
"""

from __future__ import annotations

import numpy as np

from vidiff.data.shapes.scene import _rng, _scene, check_size, laid_out
from vidiff.data.shapes.styles import distance, paint

BEHIND, BEFORE = (0.02, 0.04), (0.03, 0.09)  # disparities of the background and of sprites, in picture heights


def disparities(seed: int, scene: int) -> tuple[float, tuple[float, float]]:
    """Of the background and of two sprites, in picture heights: x in the left eye less x in the right one."""
    rng = _rng(seed, scene, 2)
    ground, first, second = (low + (high - low) * rng.random() for low, high in (BEHIND, BEFORE, BEFORE))
    return -ground, (min(first, second), max(first, second))  # the sprite that is drawn last is the nearest


def render_stereo(seed: int, scene: int, style: str = "plain", frames: int = 32, resolution: int = 64) -> np.ndarray:
    """Render one scene for two eyes, side by side, the left one first.

    Args:
        seed, scene, style, frames, resolution: as in `vidiff.data.shapes.scene.render_scene`.

    Returns:
        uint8 (T, H, 2W, 3).

    Raises:
        UsageError: unknown style, or a size that cannot be drawn.
    """
    check_size(style, frames, resolution)
    what, (ground, sprites) = _scene(seed, scene, frames), disparities(seed, scene)
    eyes = []
    for half in (0.5, -0.5):
        shifts = dict(ground=half * ground, shifts=[half * d for d in sprites])
        canvas, layers = laid_out(what, seed, frames, resolution, **shifts)
        eyes.append(paint(style, canvas, what.sky, what.earth, layers))
    return np.concatenate(eyes, axis=2)


def stereo_truth(seed: int, scene: int, frames: int = 32, resolution: int = 64) -> np.ndarray:
    """The disparity of each pixel of the left eye, float32 (T, H, W) in pixels: what is at x there is at x minus this
    in the right eye, where it is not hidden."""
    what, (ground, sprites) = _scene(seed, scene, frames), disparities(seed, scene)
    shifts = dict(ground=0.5 * ground, shifts=[0.5 * d for d in sprites])
    _, layers = laid_out(what, seed, frames, resolution, **shifts)
    found = np.full((frames, resolution, resolution), ground, np.float32)
    for layer, own in zip(layers, sprites):
        c, s = np.cos(layer.angle), np.sin(layer.angle)
        inside = distance(layer.shape, layer.u * c + layer.v * s, layer.v * c - layer.u * s) < 0
        found[inside] = own
    return found * resolution
