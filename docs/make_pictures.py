"""Draws the pictures of these pages from the embedded scenes: `python docs/make_pictures.py` writes docs/pictures/."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import kornia.augmentation as K
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

import vidiff
from vidiff.augment import (
    Augment,
    DiffAugment,
    FastMotion,
    ResizedCrop,
    Reversal,
    ShuffleSegments,
    SlowMotion,
    SpeedCurve,
    Splice,
)
from vidiff.augment.degrade import (
    Blur,
    GaussianNoise,
    Jpeg,
    LowResolution,
    MissingBlocks,
    PoissonNoise,
    Scratches,
    degrade,
)
from vidiff.clip import signed_to_uint8, uint8_to_unit, unit_to_signed
from vidiff.data.shapes.scene import CLASSES, STYLES, render_panorama, render_scene
from vidiff.data.shapes.stereo import render_stereo
from vidiff.files import replacing
from vidiff.flow import flow_method
from vidiff.inference.checkpoint import load_model
from vidiff.inference.interpolate import morph, path
from vidiff.inference.style_steps import Steps
from vidiff.inference.style_transfer import Optimization
from vidiff.inference.stylize import frame_stylizer
from vidiff.inference.translate import frame_translator
from vidiff.metrics.controls import CONTROLS, controls
from vidiff.nn.style_maps import style_extractor
from vidiff.video.open import open_reader
from vidiff.video.sheet import sheet
from vidiff.video.write import to_frames, write_mp4

FOLDER = Path(__file__).parent / "pictures"
PAPER, INK, FONT = (250, 250, 248), (32, 32, 36), ImageFont.load_default(size=13)
GAP, HEAD = 6, 20  # pixels between tiles, and of the line above each
SEED = 0


def side_by_side(tiles: Sequence[tuple[str, np.ndarray]], columns: int, scale: int = 1) -> np.ndarray:
    """Clips (T, H, W, 3) that play beside and below each other, each under its title: (T, height, width, 3)."""
    count, height, width, _ = tiles[0][1].shape
    height, width = height * scale, width * scale
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * (width + GAP) + GAP, rows * (height + HEAD + GAP)), PAPER)
    places = [(GAP + i % columns * (width + GAP), i // columns * (height + HEAD + GAP)) for i in range(len(tiles))]
    for (title, _), (x, y) in zip(tiles, places):
        ImageDraw.Draw(page).text((x, y + 2), title, fill=INK, font=FONT)
    film = np.repeat(np.asarray(page)[None], count, 0)
    for (_, clip), (x, y) in zip(tiles, places):
        film[:, y + HEAD : y + HEAD + height, x : x + width] = clip.repeat(scale, 1).repeat(scale, 2)
    return film


def clips(scenes: Sequence[int], frames: int = 16, resolution: int = 64) -> Tensor:
    """Scenes in the plain style, every second frame: uint8 (N, 3, T, H, W)."""
    films = [render_scene(SEED, scene, frames=2 * frames, resolution=resolution)[::2] for scene in scenes]
    return torch.from_numpy(np.stack(films)).permute(0, 4, 1, 2, 3).contiguous()


def styles() -> np.ndarray:
    """One scene painted four times."""
    return side_by_side([(s, render_scene(SEED, 1, s, frames=24, resolution=96)[::2]) for s in STYLES], 4)


def motions() -> np.ndarray:
    """One scene of each class."""
    return side_by_side([(name, to_frames(clip)) for name, clip in zip(CLASSES, clips(range(4), 12, 88))], 4)


def control_clips() -> np.ndarray:
    """A real clip, and what each control makes of it."""
    real = clips(range(8, 24), 7)
    made = controls(real)
    labels = {c.name: c.label for c in CONTROLS}
    tiles = [("real", to_frames(real[2])), *((labels[name], to_frames(of[2])) for name, of in made.items())]
    return side_by_side(tiles, 3, scale=2)


def augmented(ops: Sequence[tuple[str, nn.Module]], scenes: Sequence[int] = (1, 2)) -> np.ndarray:
    """A clip as it is, and after each operator at probability 1; the second scene is there to be spliced in."""
    real = clips(scenes, 8)
    rows = [("as it is", real[:1])]
    for title, op in ops:
        rows.append((title, (Augment([op])(real / 255.0, key=(SEED, 3))[:1] * 255).round().to(torch.uint8)))
    return sheet(rows)


def augment_time() -> np.ndarray:
    """Operators that change when a frame is shown."""
    return augmented([
        ("SpeedCurve", SpeedCurve((1.5, 1.5), p=1.0)),
        ("SlowMotion", SlowMotion((0.4, 0.4), p=1.0)),
        ("FastMotion", FastMotion((2.0, 2.0), p=1.0)),
        ("Reversal", Reversal(p=1.0)),
        ("ShuffleSegments", ShuffleSegments((3, 3), p=1.0)),
        ("Splice: a segment of another clip", Splice((0.4, 0.5), p=1.0)),
    ])  # fmt: skip


def augment_picture() -> np.ndarray:
    """Operators that change the frames, all of a clip alike."""
    return augmented([
        ("RandomHorizontalFlip", K.RandomHorizontalFlip(p=1.0)),
        ("ColorJitter", K.ColorJitter(0.3, 0.3, 0.4, 0.15, p=1.0)),
        ("ResizedCrop", ResizedCrop((0.5, 0.6), p=1.0)),
        ("RandomAffine", K.RandomAffine(15.0, (0.1, 0.1), p=1.0)),
        ("RandomGaussianNoise", K.RandomGaussianNoise(std=0.06, p=1.0)),
    ])  # fmt: skip


def augment_discriminator() -> np.ndarray:
    """What D sees of real clips behind DiffAugment; of generated ones it sees the same."""
    real = clips((1, 2, 4), 8)
    seen = DiffAugment()(unit_to_signed(uint8_to_unit(real)), (SEED, "real")).clamp(-1, 1)
    return sheet([("clips", real), ("what D sees of them", signed_to_uint8(seen))])


def brush(side: int = 112) -> np.ndarray:
    """A picture to take a style from: strokes of four colors, short and curved, laid over each other."""
    rng = np.random.default_rng(SEED)
    page = Image.new("RGB", (side, side), (24, 42, 92))
    draw = ImageDraw.Draw(page)
    for color in rng.permutation(
        np.repeat([(28, 66, 140), (70, 130, 180), (238, 196, 70), (240, 232, 200)], 90, axis=0)
    ):
        x, y, size = *rng.uniform(-10, side, 2), rng.uniform(8, 22)
        turn = 60 * np.sin(x / 20) + 60 * np.cos(y / 24)
        draw.arc((x, y, x + size, y + size), turn, turn + 130, fill=tuple(int(v) for v in color), width=3)
    return np.asarray(page)


def stylized() -> np.ndarray:
    """A scene, and what `vidiff stylize` makes of it by two styles; EfficientNet-Lite0's features."""
    film = render_scene(SEED, 1, frames=8, resolution=112)
    steps, extract = Steps(112), style_extractor("lite0")
    tiles = [("the film", film)]
    for title, style in (
        ("strokes", brush()),
        ("sketch", render_scene(SEED, 4, "sketch", frames=1, resolution=112)[0]),
    ):
        made = frame_stylizer(Optimization(extract, [steps.pre_process(style)], flow=flow_method("dis")), steps)
        still = np.repeat(style[None], len(film), 0)
        tiles += [(f"a style: {title}", still), ("the film in it", np.stack(list(made(film))))]
    return side_by_side(tiles, 5)


def degradations() -> np.ndarray:
    """One scene, whole and with each kind of damage."""
    film = clips((1,), 6, 72)
    ops = [
        ("noise", GaussianNoise()),
        ("few photons", PoissonNoise((15.0, 15.0))),
        ("blur", Blur((1.6, 1.6))),
        ("JPEG", Jpeg((12, 12))),
        ("scratches", Scratches(count=(3, 3))),
        ("lost blocks", MissingBlocks()),
        ("1/4 of the size", LowResolution(4)),
    ]
    damaged = [(title, (degrade(film / 255.0, [op], [0], SEED) * 255).round().byte()) for title, op in ops]
    return side_by_side([(title, to_frames(clip[0])) for title, clip in [("as it is", film), *damaged]], 4)


def edited() -> np.ndarray:
    """A film of three scenes, and what `vidiff edit` makes of it: kept, cross-faded into night, slower."""
    film = np.concatenate([render_scene(SEED, scene, frames=12, resolution=88) for scene in (1, 2, 3)])
    segments = [
        {"start": 0, "end": 12, "operation": "keep"},
        {"start": 12, "end": 24, "operation": "translate", "ckpt": "zoo:cyclegan-day2night", "fade": 4},
        {"start": 24, "end": 36, "operation": "speed", "factor": 0.75},
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        write_mp4(source, film, crf=10)
        done = vidiff.edit({"segments": segments}, source, target)
        frames = open_reader(target).read(range(done.frames))
    return side_by_side([("the film", film), ("edited", frames)], 2)


def morphs() -> np.ndarray:
    """`vidiff sample --interpolate` of a model in the box: from one clip to another, from one class to another."""
    model = vidiff.load_model("zoo:anytime-motions", "cpu")
    tiles = [
        ("clips 2, 5, 7, 2", morph(path(model, [2, 5, 7, 2], 10, labels=[0]))),
        ("classes 0, 2, 3, 0", morph(path(model, [5, 5, 5, 5], 10, labels=[0, 2, 3, 0]))),
    ]
    return side_by_side([(title, to_frames(clip)) for title, clip in tiles], 2, 3)


def around_the_seam() -> np.ndarray:
    """A panorama turned by half, its seam in the middle, and its night by the network of the box, flat and circular."""
    day, night = (np.roll(render_panorama(SEED, 203, 1, 64, style), 64, 2) for style in ("plain", "night"))
    tiles, model = [("a day all around; its seam is in the middle", day)], load_model("zoo:cyclegan-day2night", "cpu")
    for title, projection in (
        ("night by a network that sees edges, brightened", "flat"),
        ("by the same network, looking across the seam, brightened", "equirectangular"),
    ):
        change = frame_translator(model, direction="a2b", projection=projection)
        made = np.stack(list(change(np.roll(day, -64, 2))))
        tiles.append((title, np.clip(np.roll(made, 64, 2) * 2.0, 0, 255).astype(np.uint8)))
    tiles.append(("the true night, brightened", np.clip(night * 2.0, 0, 255).astype(np.uint8)))
    return side_by_side([(title, clip[:, 8:56, 32:96]) for title, clip in tiles], 2, scale=6)[0]


def two_eyes() -> np.ndarray:
    """A scene for two eyes, its night eye by eye, and the true one."""
    day, night = (render_stereo(SEED, 101, style, 1, 64) for style in ("plain", "night"))
    change = frame_translator(load_model("zoo:cyclegan-day2night", "cpu"), direction="a2b", stereo="left-right")
    tiles = [("left and right eye", day), ("night, eye by eye", np.stack(list(change(day)))), ("true night", night)]
    return side_by_side(tiles, 3, scale=2)[0]


PICTURES: dict[str, Callable[[], np.ndarray]] = {
    "styles.gif": styles,
    "motions.gif": motions,
    "controls.gif": control_clips,
    "degradations.gif": degradations,
    "augment_time.png": augment_time,
    "augment_picture.png": augment_picture,
    "augment_discriminator.png": augment_discriminator,
    "stylize.gif": stylized,
    "edit.gif": edited,
    "morph.gif": morphs,
    "panorama.png": around_the_seam,
    "stereo.png": two_eyes,
}


def write(path: Path, picture: np.ndarray, colors: int = 96) -> None:
    """A picture (H, W, 3) as PNG or a film (T, H, W, 3) as GIF, of few colors and without dithering: small files."""
    frames = picture if picture.ndim == 4 else picture[None]
    together = Image.fromarray(frames.reshape(-1, *frames.shape[2:]))
    palette = together.quantize(colors, Image.Quantize.MEDIANCUT)
    first, *more = (Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.NONE) for f in frames)
    film = {"save_all": True, "append_images": more, "duration": 120, "loop": 0} if more else {"optimize": True}
    with replacing(path) as temporary:
        first.save(temporary, format=path.suffix[1:].upper(), **film)


def main(names: Sequence[str]) -> None:
    """Draw the pictures of these names, or all."""
    FOLDER.mkdir(exist_ok=True)
    for name in names or PICTURES:
        write(FOLDER / name, PICTURES[name]())
        print(f"{name}: {(FOLDER / name).stat().st_size // 1000} KB")


if __name__ == "__main__":
    main(sys.argv[1:])
