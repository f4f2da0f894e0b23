"""How the embedded data set is painted: shapes as distance fields, and the four styles that paint the same geometry.

Everything is measured in units of the picture's height and drawn with edges one pixel soft, so one scene can be painted
at any size, on a plane or on a sphere. numpy only.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

STYLES = ("plain", "night", "cartoon", "sketch")
SHAPES = ("disc", "square", "triangle", "star", "ring")

# Hue, saturation, value of the two colors of each shape. Every shape has its own warm color and its own brightness,
# backgrounds are cool and light: no permutation or inversion of colors maps the palette onto itself, so what a
# translation should do to a color can be learnt without pairs.
SHAPE_COLORS = {
    "disc": ((0.015, 0.88, 0.93), (0.11, 0.10, 0.99)),
    "square": ((0.76, 0.72, 0.42), (0.86, 0.52, 0.74)),
    "triangle": ((0.135, 0.92, 0.99), (0.065, 0.92, 0.90)),
    "star": ((0.92, 0.80, 0.90), (0.155, 0.42, 1.00)),
    "ring": ((0.055, 0.78, 0.50), (0.10, 0.48, 0.92)),
}
INK = np.array((0.07, 0.05, 0.10), np.float32)
PENCIL = np.array((0.17, 0.17, 0.20), np.float32)


@dataclass(frozen=True)
class Canvas:
    """The pixels a scene is painted on.

    Args:
        field: cloud-like background value per pixel (T, H, W), about [-1, 1].
        fine: a finer texture (T, H, W), about [-1, 1].
        height: 0 at the top .. 1 at the bottom, (H, W) or broadcastable.
        hatch: a coordinate (H, W) across pencil strokes, in picture heights.
        paper: grain of the paper (H, W) in [0, 1].
        pixel: size of a pixel in picture heights.
        wraps: the left edge continues the right one (panorama).
    """

    field: np.ndarray
    fine: np.ndarray
    height: np.ndarray
    hatch: np.ndarray
    paper: np.ndarray
    pixel: float
    wraps: bool = False


@dataclass(frozen=True)
class Layer:
    """One sprite on a canvas: `u`, `v` are pixel positions relative to its centre, in its radii, (T, H, W)."""

    shape: str
    colors: tuple[np.ndarray, np.ndarray]
    u: np.ndarray
    v: np.ndarray
    radius: np.ndarray  # (T, 1, 1) picture heights
    angle: np.ndarray  # (T, 1, 1) radians


def rgb(h: float, s: float, v: float) -> np.ndarray:
    """A color, float32 (3,) in [0, 1], from hue (any real number), saturation and value."""
    return np.array(colorsys.hsv_to_rgb(h % 1.0, min(1.0, s), min(1.0, v)), np.float32)


def mix(a: np.ndarray, b: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Blend colors (..., 3) by a weight (T, H, W) in [0, 1]."""
    return a + (b - a) * weight[..., None]


def soft(distance: np.ndarray, pixel: np.ndarray | float) -> np.ndarray:
    """Signed distance (negative inside) -> coverage of the pixel in [0, 1], an edge one pixel wide."""
    return np.clip(0.5 - distance / pixel, 0.0, 1.0)


def distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Signed distance to the outline of a shape of about unit radius whose centroid is the origin; negative inside."""
    if shape == "disc":
        return np.hypot(u, v) - 1.0
    if shape == "ring":
        return np.abs(np.hypot(u, v) - 0.76) - 0.32
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.88
    if shape == "triangle":  # three half-planes at 120 degrees
        return np.maximum(v, np.abs(u) * np.float32(0.8660254) - 0.5 * v) - 0.64
    if shape == "star":  # fold into half of one of five points, then the line from the tip to the notch
        tip, notch, half = 1.28, 0.62, np.pi / 5
        rho, theta = np.hypot(u, v), np.arctan2(u, -v)
        theta = np.abs(np.mod(theta + half, 2 * half) - half)
        ex, ey = notch * np.cos(half) - tip, notch * np.sin(half)
        length = np.hypot(ex, ey)
        return ((rho * np.cos(theta) - tip) * np.float32(ey) - rho * np.sin(theta) * np.float32(ex)) / np.float32(
            length
        )
    raise ValueError(f"no shape '{shape}'; shapes: {', '.join(SHAPES)}")


def pattern(shape: str, u: np.ndarray, v: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Where the second color of a shape is, in [0, 1]; each shape has its own pattern. `pixel` is in its radii."""
    if shape in ("disc", "ring"):  # six sectors, like a beach ball
        sectors = 3.0 if shape == "disc" else 4.0
        return soft(-np.sin(sectors * np.arctan2(v, u)) * np.hypot(u, v) / sectors, pixel)
    if shape == "square":  # two by two
        return soft(np.minimum(np.abs(u), np.abs(v)) * np.sign(u * v), pixel)
    if shape == "triangle":  # one broad band
        return soft(np.abs(v - 0.16) - 0.19, pixel)
    return soft(np.hypot(u, v) - 0.48, pixel)  # star: a round heart


def _slope(values: np.ndarray, canvas: Canvas) -> np.ndarray:
    """|gradient| of a picture per pixel, (T, H, W)."""
    dy = np.gradient(values, axis=1)
    if canvas.wraps:
        dx = (np.roll(values, -1, axis=2) - np.roll(values, 1, axis=2)) * 0.5
    else:
        dx = np.gradient(values, axis=2)
    return np.hypot(dx, dy)


def _ground(canvas: Canvas) -> np.ndarray:
    """The value that background colors follow, (T, H, W) in [0, 1]: bright sky above, ground below, clouds between."""
    return np.clip(0.12 + 0.72 * canvas.height + 0.30 * canvas.field, 0.0, 1.0)


def _bands(ground: np.ndarray, canvas: Canvas, levels: int, width: float) -> tuple[np.ndarray, np.ndarray]:
    """Flat bands of `ground` with one-pixel edges, and the contour lines (`width` pixels) between them."""
    slope = np.maximum(_slope(ground, canvas), 1e-4)
    flat, line = np.zeros_like(ground), np.zeros_like(ground)
    for level in range(1, levels):
        pixels = (level / levels - ground) / slope  # distance to the contour, in pixels
        flat += soft(pixels, 1.0)
        line = np.maximum(line, soft(np.abs(pixels) - width / 2, 1.0))
    return flat / (levels - 1), line


def _strokes(across: np.ndarray, spacing: float, darkness: float, pixel: float) -> np.ndarray:
    """Parallel pencil strokes: `across` is the coordinate perpendicular to them."""
    phase = np.abs(np.mod(across / spacing, 1.0) - 0.5)  # 0 on a stroke .. 0.5 between
    return darkness * np.clip(1.0 - (phase * spacing - 0.2 * spacing) / pixel, 0.0, 1.0)


def _local(layer: Layer, canvas: Canvas) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sprite coordinates turned with it, signed distance in picture heights, and the size of a pixel in radii."""
    c, s = np.cos(layer.angle), np.sin(layer.angle)
    u, v = layer.u * c + layer.v * s, layer.v * c - layer.u * s
    return u, v, distance(layer.shape, u, v) * layer.radius, canvas.pixel / layer.radius


def plain(canvas: Canvas, sky: np.ndarray, earth: np.ndarray, layers: list[Layer]) -> np.ndarray:
    """Textured, shaded and with soft shadows."""
    image = mix(sky, earth, _ground(canvas)) * (1.0 + 0.085 * canvas.fine)[..., None]
    for layer in layers:
        u, v, edge, pixel = _local(layer, canvas)
        shadow = np.clip(1.45 - np.hypot(layer.u - 0.18, layer.v - 0.34), 0.0, 1.0)
        image *= (1.0 - 0.42 * shadow)[..., None]
        color = mix(*layer.colors, pattern(layer.shape, u, v, pixel))
        # Light comes from the upper left, whichever way the sprite has turned.
        light = 1.04 - 0.20 * (layer.u + layer.v)
        glow = 0.35 * np.clip(1.0 - 2.2 * np.hypot(layer.u + 0.35, layer.v + 0.4), 0.0, 1.0)
        image = mix(image, np.clip(color * light[..., None] + glow[..., None], 0, 1), soft(edge, canvas.pixel))
    return image


def night(day: np.ndarray) -> np.ndarray:
    """A plain picture after dark: gamma, less color, blue cast."""
    dark = np.clip(day, 0.0, 1.0) ** np.float32(1.7)
    grey = dark.mean(axis=-1, keepdims=True)
    dark = grey + (dark - grey) * 0.72
    return dark * np.array((0.44, 0.50, 0.74), np.float32) + np.array((0.015, 0.03, 0.11), np.float32)


def cartoon(canvas: Canvas, sky: np.ndarray, earth: np.ndarray, layers: list[Layer]) -> np.ndarray:
    """Flat, stronger colors and dark outlines."""
    flat, line = _bands(_ground(canvas), canvas, 4, 1.0)
    image = mix(mix(_vivid(sky), _vivid(earth), flat), INK, 0.55 * line)
    width = max(1.4 * canvas.pixel, 0.034)
    for layer in layers:
        u, v, edge, pixel = _local(layer, canvas)
        first, second = (_vivid(color) for color in layer.colors)
        color = mix(first, second, pattern(layer.shape, u, v, pixel))
        image = mix(image, color, soft(edge, canvas.pixel))
        image = mix(image, INK, soft(np.abs(edge) - width / 2, canvas.pixel))
    return image


def _vivid(color: np.ndarray) -> np.ndarray:
    """More saturated and a little brighter."""
    h, s, v = colorsys.rgb_to_hsv(*(float(c) for c in color))
    return rgb(h, s * 1.25 + 0.12, v * 0.9 + 0.14)


def sketch(canvas: Canvas, layers: list[Layer]) -> np.ndarray:
    """Pencil on paper: dark edges, hatching where the second color and the low ground are."""
    ground = _ground(canvas)
    _, line = _bands(ground, canvas, 4, 0.8)
    spacing = max(0.066, 3.4 * canvas.pixel)
    low = np.clip((ground - 0.55) * 4.0, 0.0, 1.0)
    paper = np.array((0.955, 0.940, 0.895), np.float32) - 0.060 * canvas.paper[..., None]
    tone = np.maximum(0.50 * line, low * _strokes(canvas.hatch, spacing, 0.24, canvas.pixel))
    image = mix(paper, PENCIL, tone)
    width = max(1.5 * canvas.pixel, 0.026)
    for layer in layers:
        u, v, edge, pixel = _local(layer, canvas)
        inside = soft(edge, canvas.pixel)
        image = mix(image, np.broadcast_to(paper, image.shape), inside)
        strokes = _strokes((u + v) * layer.radius * np.float32(0.7071), spacing * 0.85, 0.78, canvas.pixel)
        image = mix(image, PENCIL, inside * strokes * pattern(layer.shape, u, v, pixel))
        pressure = 0.88 + 0.12 * np.sin(3.0 * np.arctan2(v, u) + 1.0)  # the hand leans on the pencil unevenly
        image = mix(image, PENCIL, pressure * soft(np.abs(edge) - width / 2, canvas.pixel))
    return image - 0.03 * canvas.paper[..., None]


def paint(style: str, canvas: Canvas, sky: np.ndarray, earth: np.ndarray, layers: list[Layer]) -> np.ndarray:
    """Paint sprites (in order, the last on top) over the background -> uint8 (T, H, W, 3)."""
    if style in ("plain", "night"):
        image = plain(canvas, sky, earth, layers)
        image = night(image) if style == "night" else image
    elif style == "cartoon":
        image = cartoon(canvas, sky, earth, layers)
    else:
        image = sketch(canvas, layers)
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)
