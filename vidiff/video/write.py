"""Files a person opens: H.264 videos, GIFs, PNGs, .npy arrays and contact sheets, from uint8 clips.

One rule for layouts: a torch tensor is channel-first (C, T, H, W), a numpy array is channel-last (T, H, W, C); with a
batch in front where a function takes several clips. Importing this module does not import torch.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vidiff.errors import RunError, UsageError
from vidiff.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

PAPER, INK, RULE = (250, 250, 248), (32, 32, 36), (196, 196, 192)
CLIP_SUFFIXES = (".mp4", ".gif", ".png", ".npy")


def _replacing(path: str | Path, *suffixes: str) -> AbstractContextManager[Path]:
    """`files.replacing` for a path with one of these suffixes."""
    path = Path(path)
    if path.suffix.lower() not in suffixes:
        raise UsageError(f"{path}: cannot write '{path.suffix}'; accepted: {', '.join(suffixes)}")
    return replacing(path)


def _check(frames: np.ndarray, ndim: int, layout: str) -> np.ndarray:
    if frames.dtype != np.uint8 or frames.ndim != ndim or frames.size == 0 or frames.shape[-1] not in (1, 3):
        raise ValueError(f"expected non-empty uint8 {layout} with 1 or 3 channels, got {frames.dtype} {frames.shape}")
    return np.ascontiguousarray(np.broadcast_to(frames, (*frames.shape[:-1], 3)))


def _thwc(clip: Tensor | np.ndarray) -> np.ndarray:
    """A clip of either layout -> contiguous uint8 (T, H, W, 3); grey is repeated."""
    if not isinstance(clip, np.ndarray):
        from vidiff.clip import clip_to_thwc  # imports torch, which whoever owns a tensor has already done

        clip = clip_to_thwc(clip)
    return _check(clip, 4, "tensor (C, T, H, W) or array (T, H, W, C)")


def _clips(clips: Tensor | np.ndarray | Sequence) -> list[np.ndarray]:
    """Tensor (N, C, T, H, W), array (N, T, H, W, C) or a sequence of clips -> list of (T, H, W, 3), equal sizes."""
    frames = [_thwc(clip) for clip in clips]
    if not frames or any(f.shape != frames[0].shape for f in frames):
        raise ValueError(f"expected one or more clips of equal shape, got {[f.shape for f in frames]}")
    return frames


def write_mp4(
    path: str | Path, clip: Tensor | np.ndarray, fps: float = 8, crf: int = 18, preset: str = "medium"
) -> None:
    """Write one clip as H.264 yuv420p mp4 that plays everywhere (index at the front), atomically.

    The same pixels give the same bytes (one encoder thread, no dates). yuv420p needs even sides: an odd height or
    width is padded by repeating its last row or column.

    Args:
        path: ends in .mp4; missing folders are made.
        clip: uint8 tensor (C, T, H, W) or array (T, H, W, C); C = 1 is repeated to 3.
        fps: frames per second, > 0.
        crf: x264's constant rate factor, 0 (best) .. 51; 18 is visually transparent.
        preset: x264's preset, ultrafast .. veryslow.

    Raises:
        UsageError: another suffix, or a place that cannot be written.
        RunError: this PyAV has no libx264, or refused the frames.
    """
    import av

    frames = _thwc(clip)
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    rate = Fraction(fps).limit_denominator(1001)
    with _replacing(path, ".mp4") as temporary:
        try:
            options = {"movflags": "+faststart", "fflags": "+bitexact"}
            with av.open(str(temporary), "w", format="mp4", options=options) as container:
                stream = container.add_stream("libx264", rate=rate)
                stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
                stream.options = {"crf": str(crf), "preset": preset, "threads": "1"}
                if min(frames.shape[1:3]) < 64:  # x264's macroblock tree reads past small pictures: random bytes
                    stream.options |= {"x264-params": "mbtree=0"}
                # Say which matrix the RGB went through (BT.601, limited range), or players guess from the size.
                stream.codec_context.colorspace, stream.codec_context.color_range = 6, 1
                for index, image in enumerate(frames):
                    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                    frame = frame.reformat(
                        format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG", interpolation="AREA"
                    )
                    frame.pts, frame.time_base = index, 1 / rate
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
        except (av.FFmpegError, av.codec.codec.UnknownCodecError) as error:
            raise RunError(f"{path}: could not be encoded as H.264 by PyAV {av.__version__}: {error}") from error


def write_gif(path: str | Path, clip: Tensor | np.ndarray, fps: float = 8) -> None:
    """Write one clip as an endlessly looping GIF with one palette for all frames (no flicker), atomically.

    Args:
        path: ends in .gif.
        clip: uint8 tensor (C, T, H, W) or array (T, H, W, C).
        fps: frames per second; GIF counts hundredths of a second, so single frames differ and the whole keeps time.
    """
    frames = _thwc(clip)
    count, height, width, _ = frames.shape
    # Frames stacked below each other share one image, hence one median-cut palette.
    palette = Image.fromarray(frames.reshape(count * height, width, 3)).quantize(256, Image.Quantize.MEDIANCUT)
    images = [Image.fromarray(f).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for f in frames]
    ticks = [round(100 * i / fps) for i in range(count + 1)]
    durations = [10 * max(2, b - a) for a, b in zip(ticks, ticks[1:])]  # ms; browsers slow anything under 20 down
    with _replacing(path, ".gif") as temporary:
        images[0].save(temporary, save_all=True, append_images=images[1:], duration=durations, loop=0, disposal=1)


def write_png(path: str | Path, image: Tensor | np.ndarray) -> None:
    """Write one image as PNG, atomically.

    Args:
        path: ends in .png.
        image: uint8 tensor (C, H, W) or array (H, W, C), C in {1, 3}.
    """
    if not isinstance(image, np.ndarray):
        image = _thwc(image.unsqueeze(1))[0]  # (C, H, W) -> (C, 1, H, W): a clip of one frame
    image = _check(image, 3, "tensor (C, H, W) or array (H, W, C)")
    with _replacing(path, ".png") as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def write_npy(path: str | Path, clips: Tensor | np.ndarray) -> None:
    """Write uint8 clips of any layout as .npy, exactly as they are (no conversion, no pickle), atomically."""
    array = clips if isinstance(clips, np.ndarray) else clips.detach().cpu().numpy()
    if array.dtype != np.uint8:
        raise ValueError(f"expected uint8 clips, got {array.dtype}")
    with _replacing(path, ".npy") as temporary:
        np.save(temporary, array, allow_pickle=False)


def write_clip(path: str | Path, clip: Tensor | np.ndarray, fps: float = 8) -> None:
    """Write one clip by the suffix of its name: .mp4, .gif, .png (all frames side by side) or .npy.

    Raises:
        UsageError: any other suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".mp4":
        write_mp4(path, clip, fps)
    elif suffix == ".gif":
        write_gif(path, clip, fps)
    elif suffix == ".png":
        write_png(path, np.concatenate(list(_thwc(clip)), axis=1))
    elif suffix == ".npy":
        write_npy(path, clip)
    else:
        raise UsageError(f"{path}: cannot write '{suffix}'; accepted: {', '.join(CLIP_SUFFIXES)}")


def _enlarge(frames: np.ndarray, scale: int) -> np.ndarray:
    """Repeat pixels of (..., H, W, 3) `scale` times each way."""
    return frames.repeat(scale, axis=-3).repeat(scale, axis=-2)


def _scale_for(frames: np.ndarray, scale: int | None) -> int:
    return max(1, math.ceil(64 / min(frames.shape[1:3]))) if scale is None else max(1, int(scale))


def _wrap(text: str, font: ImageFont.ImageFont, width: int) -> str:
    """Break a title at spaces so that its lines fit `width` pixels where they can."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def sheet(
    groups: Sequence[tuple[str, Tensor | np.ndarray]], max_frames: int = 8, scale: int | None = None
) -> np.ndarray:
    """A contact sheet: time runs to the right, clips run down, each group of clips under its title; nothing is cropped.

    Args:
        groups: (title, uint8 clips (N, C, T, H, W)); arrays are (N, T, H, W, C). Groups may differ in size and length.
        max_frames: frames shown of each clip, evenly spaced from the first to the last.
        scale: whole-number enlargement (nearest); default: the smallest one that makes a frame at least 64 pixels.

    Returns:
        uint8 (H, W, 3).
    """
    gap, margin = 2, 8
    font = ImageFont.load_default(size=16)
    blocks = []  # (title, list of strips (h, w, 3))
    for title, clips in groups:
        frames = _clips(clips)
        count = len(frames[0])
        shown = np.round(np.linspace(0, count - 1, min(max_frames, count))).astype(int)
        strips = []
        for clip in frames:
            tiles = _enlarge(clip[shown], _scale_for(clip, scale))
            h, w = tiles.shape[1:3]
            strip = np.full((h, len(tiles) * (w + gap) - gap, 3), RULE, np.uint8)
            for i, tile in enumerate(tiles):
                strip[:, i * (w + gap) : i * (w + gap) + w] = tile
            strips.append(strip)
        blocks.append((title, strips))
    if not blocks:
        raise ValueError("a contact sheet needs at least one group of clips")
    width = max(strip.shape[1] for _, strips in blocks for strip in strips)
    titles = [_wrap(title, font, width) for title, _ in blocks]
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    boxes = [ruler.multiline_textbbox((0, 0), text, font=font) for text in titles]
    width = math.ceil(max([width, *(box[2] for box in boxes)])) + 2 * margin
    heads = [math.ceil(box[3]) + margin if text else 0 for box, text in zip(boxes, titles)]
    bodies = [sum(strip.shape[0] + gap for strip in strips) - gap for _, strips in blocks]
    page = Image.new("RGB", (width, sum(heads) + sum(bodies) + margin * (len(blocks) + 1)), PAPER)
    draw, y = ImageDraw.Draw(page), margin
    for (_, strips), text, head, body in zip(blocks, titles, heads, bodies):
        draw.multiline_text((margin, y), text, fill=INK, font=font)
        y += head
        draw.rectangle((margin, y, margin + max(s.shape[1] for s in strips) - 1, y + body - 1), fill=RULE)
        for strip in strips:
            page.paste(Image.fromarray(strip), (margin, y))
            y += strip.shape[0] + gap
        y += margin - gap
    return np.asarray(page).copy()


def grid_mp4(
    path: str | Path, clips: Tensor | np.ndarray | Sequence, fps: float = 8, columns: int | None = None
) -> None:
    """Play N clips of one size side by side in one mp4, row by row, in a grid as square as N allows.

    Args:
        path: ends in .mp4.
        clips: uint8 (N, C, T, H, W); arrays are (N, T, H, W, C). Small clips are enlarged to at least 64 pixels.
        fps: frames per second.
        columns: clips in a row; default ceil(sqrt(N)).
    """
    gap = 2
    frames = _clips(clips)
    scale = _scale_for(frames[0], None)
    count, height, width = len(frames[0]), frames[0].shape[1] * scale, frames[0].shape[2] * scale
    columns = columns or math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    page = np.empty((count, rows * (height + gap) + gap, columns * (width + gap) + gap, 3), np.uint8)
    page[:] = PAPER
    for i, clip in enumerate(frames):
        y, x = gap + (i // columns) * (height + gap), gap + (i % columns) * (width + gap)
        page[:, y : y + height, x : x + width] = _enlarge(clip, scale)
    write_mp4(path, page, fps)
