"""Scenes of the embedded data set: what is drawn by chance, how it moves, its rendering, what is known of it.

A scene is a pure function of (seed, scene number): motion, shapes, colors, background. A style changes how it is
painted and nothing else. numpy only.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vidiff.data.shapes.styles import SHAPE_COLORS, SHAPES, STYLES, Canvas, Layer, paint, rgb
from vidiff.errors import UsageError

CLASSES = ("bounce", "orbit", "pulse", "slide")
SHAPE_WEIGHTS = (0.28, 0.22, 0.20, 0.18, 0.12)  # unequal on purpose: see SHAPE_COLORS
SPAN = math.radians(100.0)  # the flat picture covers this much of a panorama
MARKER = "shapes.json"  # the record of a rendered set lies in its folder
VERSION = 1  # of the renderer: raise it whenever the pixels of any scene change


@dataclass(frozen=True)
class _Sprite:
    shape: str
    colors: tuple[np.ndarray, np.ndarray]
    x: np.ndarray  # all (T,), in picture heights and radians
    y: np.ndarray
    radius: np.ndarray
    angle: np.ndarray


@dataclass(frozen=True)
class _Scene:
    sprites: list[_Sprite]
    sky: np.ndarray
    earth: np.ndarray
    waves: np.ndarray  # (K, 5): frequency vector (3), phase, amplitude
    drift: np.ndarray  # (3,) picture heights per frame
    turn: float  # longitude of the scene in a panorama


def _rng(seed: int, scene: int, stream: int) -> np.random.Generator:
    # vidiff.keyed would import torch. Only .random() is used: its stream is the bit generator's, stable over versions.
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, scene, stream))))


def _bounce_heights(t: np.ndarray, top: float, fall: float, keep: float) -> np.ndarray:
    """Height above the floor of a ball dropped from `top`, reached after `fall` frames; speed times `keep` a bounce."""
    gravity = 2.0 * top / fall**2
    height = np.where(t < fall, top - 0.5 * gravity * t**2, 0.0)
    start, speed = fall, gravity * fall * keep
    while start < t[-1]:
        stop = start + 2.0 * speed / gravity
        air = (t >= start) & (t < stop)
        height = np.where(air, speed * (t - start) - 0.5 * gravity * (t - start) ** 2, height)
        start, speed = stop, max(speed * keep, 0.25 * gravity)  # never shorter than half a frame: the loop must end
    return height


def _motions(motion: str, count: int, t: np.ndarray, draw: Callable[[float, float], float]) -> list[tuple]:
    """Centre x, y and radius (T,) of each sprite; two sprites have a lane, a spot or half an orbit each."""
    tracks = []
    period, phase, sense = draw(15, 22), draw(0, 1), 1.0 if draw(0, 1) < 0.5 else -1.0
    centre_x, centre_y = draw(0.47, 0.53), draw(0.47, 0.53)
    reach = draw(0.235, 0.265) if count == 1 else draw(0.26, 0.285)
    for i in range(count):
        lane = draw(0.40, 0.60) if count == 1 else (0.27, 0.73)[i] + draw(-0.03, 0.03)
        size = draw(0.135, 0.185) if count == 1 else draw(0.12, 0.155)
        still = np.zeros_like(t)
        if motion == "slide":  # from wall to wall at constant speed
            way = np.abs(2.0 * np.mod(t / period + phase + 0.5 * i, 1.0) - 1.0)
            x, y, radius = 1.1 * size + 0.02 + (0.96 - 2.2 * size) * way, still + lane, still + size
        elif motion == "bounce":  # gravity, and a little is lost each time: the one motion with an arrow of time
            heights = _bounce_heights(t, draw(0.86, 0.92) - 2 * size - 0.06, draw(5.0, 6.5), draw(0.84, 0.89))
            x, y, radius = lane + 0.0035 * sense * (t - 16), 0.95 - size - heights, still + size
        elif motion == "orbit":  # around the middle
            turn = 2 * np.pi * (sense * t / period + phase + i / 2)
            x, y, radius = centre_x + reach * np.cos(turn), centre_y + reach * np.sin(turn), still + size
        else:  # pulse: grow and shrink on one spot
            beat = np.sin(2 * np.pi * (t / (0.75 * period) + phase + i / 2))
            x, y = still + lane, still + (centre_y if count == 1 else (0.35, 0.65)[i] + draw(-0.05, 0.05))
            radius = (0.195 if count == 1 else 0.150) * (1.0 + 0.50 * beat)
        tracks.append((x, y, radius))
    return tracks


def _scene(seed: int, scene: int, frames: int) -> _Scene:
    """Everything that is drawn by chance, in one fixed order. More frames extend a scene, they do not change it."""
    rng = _rng(seed, scene, 0)

    def draw(low: float, high: float) -> float:
        return low + (high - low) * rng.random()

    motion, t = CLASSES[scene % len(CLASSES)], np.arange(frames, dtype=np.float64)
    count = 1 if rng.random() < 0.45 else 2
    sprites = []
    for x, y, radius in _motions(motion, count, t, draw):
        shape = SHAPES[int(np.searchsorted(np.cumsum(SHAPE_WEIGHTS), rng.random() * sum(SHAPE_WEIGHTS)))]
        hue, light = draw(-0.018, 0.018), draw(0.94, 1.04)
        colors = tuple(rgb(h + hue, s, v * light) for h, s, v in SHAPE_COLORS[shape])
        spin = draw(0.03, 0.10) * (1 if rng.random() < 0.5 else -1)
        sprites.append(_Sprite(shape, colors, x, y, radius, draw(-0.5, 0.5) + spin * t))
    # Cool and light, from leaf green to sky blue; the bluer the brighter, and the ground always the darker, yellower.
    where = rng.random() ** 0.7
    sky = rgb(0.40 + 0.18 * where, 0.20 + 0.22 * where, 0.86 + 0.12 * where)
    earth = rgb(0.25 + 0.19 * where, 0.46, 0.50 + 0.16 * where)
    waves = np.empty((12, 5))
    for k, row in enumerate(waves):
        frequency = draw(0.5, 1.3) if k < 5 else draw(2.5, 6.5)  # cycles per picture: 5 of clouds, 7 of grain
        azimuth, z = draw(0, 2 * np.pi), draw(-0.55, 0.55)
        flat = frequency * math.sqrt(1 - z * z)
        row[:] = flat * math.cos(azimuth), flat * math.sin(azimuth), frequency * z, draw(0, 2 * np.pi), draw(0.7, 1.3)
    azimuth, speed = draw(0, 2 * np.pi), draw(0.006, 0.014)
    drift = np.array((speed * math.cos(azimuth), 0.5 * speed * math.sin(azimuth), 0.0))
    return _Scene(sprites, sky, earth, waves, drift, draw(-np.pi, np.pi))


def _noise(waves: np.ndarray, drift: np.ndarray, points: tuple[np.ndarray, ...], frames: int) -> np.ndarray:
    """Drifting smooth noise at points (3 arrays (H, W)) -> (T, H, W) float32 of unit scale: a sum of plane waves."""
    t = np.arange(frames)
    total = np.zeros((frames, *points[0].shape), np.float32)
    for fx, fy, fz, phase, amplitude in waves:
        angle = 2 * np.pi * (fx * points[0] + fy * points[1] + fz * points[2]) + phase
        move = 2 * np.pi * t * (fx * drift[0] + fy * drift[1] + fz * drift[2])
        # sin(a - b) = sin a cos b - cos a sin b: the sines of the picture are taken once, not once a frame.
        sine, cosine = np.sin(angle).astype(np.float32), np.cos(angle).astype(np.float32)
        total += np.float32(amplitude) * np.cos(move).astype(np.float32)[:, None, None] * sine
        total -= np.float32(amplitude) * np.sin(move).astype(np.float32)[:, None, None] * cosine
    return total / np.float32(np.sqrt(0.5 * np.sum(waves[:, 4] ** 2)))


def _canvas(
    scene: _Scene,
    seed: int,
    frames: int,
    points: tuple,
    height: np.ndarray,
    hatch: np.ndarray,
    pixel: float,
    wraps: bool = False,
) -> Canvas:
    field = 0.8 * _noise(scene.waves[:5], scene.drift, points, frames)
    fine = 0.6 * _noise(scene.waves[5:], scene.drift, points, frames)
    paper = _rng(seed, 0, 1).random(points[0].shape).astype(np.float32)  # one sheet of paper for all scenes
    return Canvas(field, fine, height.astype(np.float32), hatch.astype(np.float32), paper, pixel, wraps)


def check_size(style: str, frames: int, resolution: int) -> None:
    """Refuse an unknown style, and videos without frames or below 8 pixels."""
    if style not in STYLES:
        raise UsageError(f"no style '{style}'; styles: {', '.join(STYLES)}")
    if frames < 1 or resolution < 8:
        raise UsageError(f"frames must be at least 1 and the size at least 8 pixels, got {frames} and {resolution}")


def _column(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)[:, None, None]  # (T,) -> (T, 1, 1)


def render_scene(
    seed: int, scene: int, style: str = "plain", frames: int = 32, resolution: int = 64, sprites: bool = True
) -> np.ndarray:
    """Render one scene in one style.

    Args:
        seed: of the data set.
        scene: scene number; its motion is CLASSES[scene % 4].
        style: one of STYLES.
        frames: length T; the first frames of a longer rendering are the same.
        resolution: height and width in pixels.
        sprites: False leaves the background alone.

    Returns:
        uint8 (T, H, W, 3).

    Raises:
        UsageError: unknown style, or a size that cannot be drawn.
    """
    check_size(style, frames, resolution)
    what = _scene(seed, scene, frames)
    canvas, layers = laid_out(what, seed, frames, resolution, sprites)
    return paint(style, canvas, what.sky, what.earth, layers)


def laid_out(
    what: _Scene,
    seed: int,
    frames: int,
    resolution: int,
    sprites: bool = True,
    ground: float = 0.0,
    shifts: Sequence[float] = (0.0, 0.0),
) -> tuple[Canvas, list[Layer]]:
    """A scene on a plane: its background and its sprites, moved to the right by these many picture heights."""
    axis = (np.arange(resolution) + 0.5) / resolution
    y, x = np.meshgrid(axis, axis, indexing="ij")
    moved = x - ground
    points = (moved, y, np.zeros_like(x))
    canvas = _canvas(what, seed, frames, points, y, (moved + y) * math.sqrt(0.5), 1.0 / resolution)
    x, y = x.astype(np.float32), y.astype(np.float32)
    layers = [
        Layer(
            sprite.shape,
            sprite.colors,
            (x - _column(sprite.x + shift)) / _column(sprite.radius),
            (y - _column(sprite.y)) / _column(sprite.radius),
            _column(sprite.radius),
            _column(sprite.angle),
        )
        for sprite, shift in zip(what.sprites if sprites else (), shifts)
    ]
    return canvas, layers


def scene_truth(seed: int, scene: int, frames: int = 32, resolution: int = 64) -> dict:
    """What `render_scene` draws, as numbers.

    Returns:
        `shapes` (S names, the last is on top), `positions` float64 (T, S, 2) as x, y in pixels where the centre of the
        top left pixel is (0, 0), `radii` (T, S) in pixels, `speed` (S,) mean |change of position| in pixels per frame.
    """
    check_size("plain", frames, resolution)
    what = _scene(seed, scene, frames)
    positions = np.stack([np.stack([s.x, s.y], -1) for s in what.sprites], 1) * resolution - 0.5
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=-1)
    return {
        "shapes": [s.shape for s in what.sprites],
        "positions": positions,
        "radii": np.stack([s.radius for s in what.sprites], 1) * resolution,
        "speed": steps.mean(axis=0) if frames > 1 else np.zeros(len(what.sprites)),
    }


def render_panorama(seed: int, scene: int, frames: int = 32, height: int = 64, style: str = "plain") -> np.ndarray:
    """Render one scene all around: equirectangular, its left and right edges meet without a seam.

    The background is a function of the direction in space; the sprites appear three times around the horizon and are
    drawn by angular distance from their centre (azimuthal equidistant), so they keep their shape on the sphere.

    Args:
        seed, scene, frames, style: as in `render_scene`.
        height: H in pixels; the width is 2 H.

    Returns:
        uint8 (T, H, 2H, 3); row 0 looks up, the middle column looks along +x.
    """
    check_size(style, frames, height)
    what = _scene(seed, scene, frames)
    latitude = np.pi * (0.5 - (np.arange(height) + 0.5) / height)
    longitude = np.pi * ((np.arange(2 * height) + 0.5) / height - 1.0)
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    sight = (np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat))  # unit directions, 3 x (H, W)
    points = (sight[0] / SPAN, -sight[2] / SPAN, sight[1] / SPAN)  # second axis down, as in the flat picture
    pixel = np.pi / height / SPAN
    canvas = _canvas(what, seed, frames, points, 0.5 - 0.5 * sight[2], -lat / SPAN, pixel, wraps=True)
    layers = []
    for sprite, third in itertools.product(what.sprites, range(3)):
        lon0 = (what.turn + third * 2 * np.pi / 3 + (sprite.x - 0.5) * SPAN)[:, None, None]  # (T, 1, 1)
        lat0 = ((0.5 - sprite.y) * SPAN)[:, None, None]
        # Components of each direction towards the centre of the sprite, its east and its south.
        east = np.cos(lat) * np.sin(lon - lon0)
        level = np.cos(lat) * np.cos(lon - lon0)
        towards = level * np.cos(lat0) + np.sin(lat) * np.sin(lat0)
        south = level * np.sin(lat0) - np.sin(lat) * np.cos(lat0)
        angle = np.arccos(np.clip(towards, -1.0, 1.0))
        scale = angle / np.maximum(np.hypot(east, south), 1e-9) / (SPAN * sprite.radius[:, None, None])
        u, v = (east * scale).astype(np.float32), (south * scale).astype(np.float32)
        layers.append(Layer(sprite.shape, sprite.colors, u, v, _column(sprite.radius), _column(sprite.angle)))
    return paint(style, canvas, what.sky, what.earth, layers)


@dataclass(frozen=True)
class Truth:
    """What is known of every clip of a rendered set.

    Args:
        seed: of the set.
        resolution: height and width of the clips in pixels, whatever the files'.
        style: that all of it is painted in; None: there are several.
    """

    seed: int
    resolution: int
    style: str | None = None

    def positions(self, video: str, frames: Sequence[int]) -> np.ndarray:
        """Where the sprites are.

        Args:
            video: the file's path; its name is the number of the scene.
            frames: frame numbers (T,).

        Returns:
            float64 (T, 2, 2): x, y of each sprite's centre as in `scene_truth`, NaN for a second one that is not there.
        """
        known = scene_truth(self.seed, int(Path(video).stem), int(max(frames)) + 1, self.resolution)["positions"]
        out = np.full((len(frames), 2, 2), np.nan)
        out[:, : known.shape[1]] = known[np.asarray(frames)]
        return out

    def speed(self, video: str, frames: Sequence[int]) -> dict[str, Any]:
        """`speed`: mean |change of position| of the sprites between neighbouring frames of a clip, in pixels."""
        return {"speed": _speed(self.positions(video, frames))}

    def speed_and_positions(self, video: str, frames: Sequence[int]) -> dict[str, Any]:
        """`speed`, and `positions` as above."""
        positions = self.positions(video, frames)
        return {"speed": _speed(positions), "positions": positions}


def _speed(positions: np.ndarray) -> float:
    steps = np.linalg.norm(np.diff(positions, axis=0), axis=-1)  # (T - 1, 2)
    return float(np.nanmean(steps)) if len(steps) else 0.0


def embedded(root: Path, projection: str) -> Path:
    """Where the embedded set of a projection is rendered to."""
    return root if projection == "flat" else root.with_name(f"{root.name}_{projection}")


def truth_of(root: Path, resolution: int) -> Truth | None:
    """What is known of the clips of a folder that this version of the renderer made; None for any other folder."""
    try:
        record = json.loads((root / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    made = (
        isinstance(record, dict)
        and "projection" not in record
        and (record.get("dataset"), record.get("version")) == ("shapes", VERSION)
    )
    if not made:
        return None
    styles = record.get("styles") or ()
    return Truth(record["seed"], resolution, styles[0] if len(styles) == 1 else None)
