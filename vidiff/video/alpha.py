"""Writing clips with an alpha channel: lossless RGBA video for overlays."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from vidiff.errors import RunError
from vidiff.files import replacing


def write_cutout(path: Path, frames: np.ndarray, fps: float = 8.0) -> None:
    """Write uint8 (T, H, W, 4) as a QuickTime file of PNG frames: every value survives, alpha is not premultiplied.

    Args:
        path: ends in .mov; appears only when it is whole.
        frames: red, green, blue, alpha.
        fps: frames per second, > 0.

    Raises:
        RunError: this PyAV cannot encode it. UsageError: the place cannot be written.
    """
    import av

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 4:
        raise ValueError(f"expected uint8 (T, H, W, 4), got {frames.dtype} {frames.shape}")
    rate = Fraction(fps).limit_denominator(1001)
    with replacing(path) as temporary:
        try:
            with av.open(str(temporary), "w", format="mov", options={"fflags": "+bitexact"}) as container:
                stream = container.add_stream("png", rate=rate)
                stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "rgba"
                for index, image in enumerate(frames):
                    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba")
                    frame.pts, frame.time_base = index, 1 / rate
                    container.mux(stream.encode(frame))
                container.mux(stream.encode())
        except (av.FFmpegError, av.codec.codec.UnknownCodecError, OSError) as error:
            raise RunError(f"{path}: could not be written as RGBA video: {error}") from error
