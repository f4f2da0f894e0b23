"""H.264 that every player shows: the one place that sets up the encoder, its colours and its frames. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidiff.errors import RunError
from vidiff.files import replacing
from vidiff.video.container import reason

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
def new_container(path: Path | str, **options: str) -> Iterator:
    """Yield an open output container of the kind that the suffix of `path` names; the file appears once it is whole.

    Args:
        path: where to; missing folders are made.
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


class Encoder:
    """An H.264 stream in an open output container, by one thread: RGB frames in, packets out.

    Args:
        container: see `new_container`; the stream is added to it.
        height, width: of the frames. 4:2:0 halves both; where one is odd, colours are kept at full size (4:4:4).
        form: rate, clock, aspect and colours.
        crf: x264's constant rate factor, 0 (best) .. 51.
        preset: x264's preset, ultrafast .. veryslow.
        options: further ones of FFmpeg's libx264.
    """

    def __init__(
        self, container, height: int, width: int, form: VideoFormat, crf: int = 18, preset: str = "medium", **options
    ):
        self.form = form
        stream = self.stream = container.add_stream("libx264", rate=form.rate)
        stream.height, stream.width = height, width
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.options = {"crf": str(crf), "preset": preset} | options
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
