"""Write clips to files: H.264 and alpha videos, GIF, PNG, `.npy`. Each file appears once it is whole.

One rule for layouts: a torch tensor is channel-first (C, T, H, W), a numpy array is channel-last (T, H, W, C); with a
batch in front where a function takes several clips. Importing this module does not import torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vidiff.errors import RunError
from vidiff.files import check_suffix, replacing
from vidiff.video.container import reason
from vidiff.video.spherical import Spherical, write_spherical

if TYPE_CHECKING:
    from torch import Tensor

CLIP_SUFFIXES = (".mp4", ".gif", ".png", ".npy")
# x264's macroblock tree reads past pictures of many sizes, 64 x 64 among them: random bytes, other ones every time.
EXACT = {"x264-params": "mbtree=0"}
# Numbers of ITU-T H.273 for primaries, transfer and matrix, and FFmpeg's own for the range and for BT.601 in swscale.
BT709, UNSTATED, BT601 = 1, 2, 6
LIMITED, SWS_BT601 = 1, 5


@dataclass
class VideoFormat:
    """How the frames of a video are to be shown.

    Args:
        rate: frames per second, roughly.
        time_base: seconds of one tick.
        aspect: width of a pixel over its height; 0 where the file does not state it, which means square.
        primaries, transfer, matrix: of its colours, as numbers of ITU-T H.273.
    """

    rate: Fraction
    time_base: Fraction
    aspect: Fraction = Fraction(0)
    primaries: int = UNSTATED
    transfer: int = UNSTATED
    matrix: int = BT601


def frame_rate(fps: float) -> Fraction:
    """Frames per second as a fraction, as containers store them.

    Raises:
        ValueError: not above 0.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    return Fraction(fps).limit_denominator(1001)


@contextmanager
def new_container(path: Path | str, spherical: Spherical = Spherical(), **options: str) -> Iterator:
    """Yield an open output container of the kind that the suffix of `path` names; the file appears once it is whole.

    Args:
        path: where to; missing folders are made.
        spherical: what the file says of projection and eyes; .mp4 and .mov alone can.
        options: of FFmpeg's muxer.

    Raises:
        UsageError: the place cannot be written. RunError: FFmpeg refused the frames, or has no such encoder.
    """
    import av

    with replacing(Path(path)) as temporary:
        try:
            with av.open(str(temporary), "w", options=options) as container:
                yield container
        except (av.FFmpegError, av.codec.codec.UnknownCodecError, OSError) as error:
            raise RunError(f"{path}: could not be written by PyAV {av.__version__} ({reason(error)})") from error
        if spherical != Spherical():
            write_spherical(temporary, spherical)


def _comment(container, text: str) -> None:
    """A comment for the header of a container; nothing is changed by an empty one."""
    if text:
        container.metadata["comment"] = text


class Encoder:
    """An H.264 stream in an open output container, by one thread: RGB frames in, packets out.

    Args:
        container: see `new_container`; the stream is added to it.
        height, width: of the frames. 4:2:0 halves both; where one is odd, colours are kept at full size (4:4:4).
        form: rate, clock, aspect and colours.
        crf: x264's constant rate factor, 0 (best) .. 51.
        options: further ones of FFmpeg's libx264.
    """

    def __init__(self, container, height: int, width: int, form: VideoFormat, crf: int = 18, **options: str):
        self.form = form
        stream = self.stream = container.add_stream("libx264", rate=form.rate)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.options = {"crf": str(crf), "preset": "medium"} | options
        context = stream.codec_context
        context.time_base, context.thread_count = form.time_base, 1
        context.sample_aspect_ratio = form.aspect
        context.color_primaries, context.color_trc = form.primaries, form.transfer
        # Players guess the matrix from the size where it is not stated.
        context.colorspace, context.color_range = form.matrix, LIMITED

    def encode(self, image: np.ndarray, time: int) -> list:
        """The packets that are ready once a frame is in.

        Args:
            image: RGB uint8 (H, W, 3).
            time: when it is shown, in ticks of the format's clock.
        """
        import av

        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        matrix = SWS_BT601 if self.form.matrix in (UNSTATED, BT601) else self.form.matrix
        frame = frame.reformat(
            format=self.stream.pix_fmt, dst_colorspace=matrix, dst_color_range="MPEG", interpolation="AREA", threads=1
        )
        frame.pts, frame.time_base = time, self.form.time_base
        return self.stream.encode(frame)

    def flush(self) -> list:
        """The packets that were held until the end."""
        return self.stream.encode()


def to_frames(clip: Tensor | np.ndarray) -> np.ndarray:
    """A clip of either layout -> contiguous uint8 (T, H, W, 3); grey is repeated.

    Raises:
        ValueError: not uint8, empty, or neither 1 nor 3 channels.
    """
    if not isinstance(clip, np.ndarray):
        from vidiff.clip import clip_to_thwc  # imports torch, which whoever owns a tensor has already done

        clip = clip_to_thwc(clip)
    if clip.dtype != np.uint8 or clip.ndim != 4 or clip.size == 0 or clip.shape[-1] not in (1, 3):
        layout = "tensor (C, T, H, W) or array (T, H, W, C)"
        raise ValueError(f"expected non-empty uint8 {layout} with 1 or 3 channels, got {clip.dtype} {clip.shape}")
    return np.ascontiguousarray(np.broadcast_to(clip, (*clip.shape[:-1], 3)))


def write_mp4(
    path: str | Path,
    clip: Tensor | np.ndarray,
    fps: float = 8,
    crf: int = 18,
    comment: str = "",
    spherical: Spherical = Spherical(),
) -> None:
    """Write one clip as an H.264 mp4 that plays everywhere (4:2:0, index at the front).

    The same pixels give the same bytes. 4:2:0 needs even sides: an odd height or width is padded by repeating its last
    row or column.

    Args:
        path: ends in .mp4; missing folders are made.
        clip: uint8 tensor (C, T, H, W) or array (T, H, W, C); C = 1 is repeated to 3.
        fps: frames per second, > 0.
        crf: x264's constant rate factor, 0 (best) .. 51; 18 is visually transparent.
        comment: for the file's header.
        spherical: what the file says of projection and eyes.

    Raises:
        UsageError: another suffix, or a place that cannot be written.
        RunError: this PyAV has no libx264, or refused the frames.
    """
    check_suffix(path, ".mp4")
    frames, rate = to_frames(clip), frame_rate(fps)
    _, height, width, _ = frames.shape
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with new_container(path, spherical, movflags="+faststart", fflags="+bitexact") as container:
        _comment(container, comment)
        encoder = Encoder(container, *frames.shape[1:3], VideoFormat(rate, 1 / rate), crf, **EXACT)
        for time, image in enumerate(frames):
            container.mux(encoder.encode(image, time))
        container.mux(encoder.flush())


def write_cutout(path: str | Path, frames: np.ndarray, fps: float = 8.0, comment: str = "") -> None:
    """Write one clip with an alpha channel as a QuickTime file of PNG frames: every value survives.

    Args:
        path: ends in .mov; missing folders are made.
        frames: uint8 (T, H, W, 4): red, green, blue, alpha; the colours are not multiplied by alpha.
        fps: frames per second, > 0.
        comment: for the file's header.

    Raises:
        UsageError: another suffix, or a place that cannot be written. RunError: this PyAV cannot encode it.
    """
    import av

    check_suffix(path, ".mov")
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 4:
        raise ValueError(f"expected uint8 (T, H, W, 4), got {frames.dtype} {frames.shape}")
    with new_container(path, fflags="+bitexact") as container:
        _comment(container, comment)
        stream = container.add_stream("png", rate=frame_rate(fps))
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgba"
        for time, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba")
            frame.pts, frame.time_base = time, 1 / frame_rate(fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_gif(
    path: str | Path,
    clip: Tensor | np.ndarray,
    fps: float = 8,
    scale: int = 1,
    dither: bool = True,
    comment: str = "",
) -> None:
    """Write one clip as an endlessly looping GIF with one palette for all frames, so that colours do not flicker.

    Args:
        path: ends in .gif.
        clip: uint8 tensor (C, T, H, W) or array (T, H, W, C).
        fps: frames per second; GIF counts hundredths of a second, so single frames differ and the whole keeps time.
        scale: times that each pixel is repeated, each way.
        dither: colors that the palette lacks are mixed of others; a small clip that is enlarged looks grainy then.
        comment: kept in the file.
    """
    check_suffix(path, ".gif")
    frames = to_frames(clip)
    count, height, width, _ = frames.shape
    # Frames stacked below each other share one image, hence one median-cut palette.
    palette = Image.fromarray(frames.reshape(count * height, width, 3)).quantize(256, Image.Quantize.MEDIANCUT)
    mixing = Image.Dither.FLOYDSTEINBERG if dither else Image.Dither.NONE
    images = [Image.fromarray(f).quantize(palette=palette, dither=mixing) for f in frames]
    images = [i.resize((scale * width, scale * height), Image.Resampling.NEAREST) for i in images]
    ticks = [round(100 * i / fps) for i in range(count + 1)]
    durations = [10 * max(2, b - a) for a, b in zip(ticks, ticks[1:])]  # ms; browsers slow anything under 20 down
    said = {"comment": comment.encode()} if comment else {}
    with replacing(Path(path)) as temporary:
        images[0].save(
            temporary, save_all=True, append_images=images[1:], duration=durations, loop=0, disposal=1, **said
        )


def write_png(path: str | Path, image: Tensor | np.ndarray, comment: str = "") -> None:
    """Write one image as PNG.

    Args:
        path: ends in .png.
        image: uint8 tensor (C, H, W) or array (H, W, C), C in {1, 3}.
        comment: kept in the file, as text under the keyword `Comment`.
    """
    check_suffix(path, ".png")
    (frame,) = to_frames(image[None] if isinstance(image, np.ndarray) else image.unsqueeze(1))  # a clip of one frame
    said = PngInfo()
    if comment:
        said.add_itxt("Comment", comment)
    with replacing(Path(path)) as temporary:
        Image.fromarray(frame).save(temporary, format="PNG", pnginfo=said)


def write_npy(path: str | Path, clips: Tensor | np.ndarray) -> None:
    """Write uint8 clips of any layout as .npy, exactly as they are (no conversion, no pickle)."""
    check_suffix(path, ".npy")
    array = clips if isinstance(clips, np.ndarray) else clips.detach().cpu().numpy()
    if array.dtype != np.uint8:
        raise ValueError(f"expected uint8 clips, got {array.dtype}")
    with replacing(Path(path)) as temporary:
        np.save(temporary, array, allow_pickle=False)


def write_clip(path: str | Path, clip: Tensor | np.ndarray, fps: float = 8, comment: str = "") -> None:
    """Write one clip by the suffix of its name: .mp4, .gif, .png (all frames side by side) or .npy (no comment).

    Raises:
        UsageError: any other suffix.
    """
    check_suffix(path, *CLIP_SUFFIXES)
    suffix = Path(path).suffix.lower()
    if suffix == ".mp4":
        write_mp4(path, clip, fps, comment=comment)
    elif suffix == ".gif":
        write_gif(path, clip, fps, comment=comment)
    elif suffix == ".png":
        write_png(path, np.concatenate(list(to_frames(clip)), axis=1), comment)
    else:
        write_npy(path, clip)
