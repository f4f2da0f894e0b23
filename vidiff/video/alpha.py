"""Videos with transparency as players and editors read them: ProRes 4444 and VP9 with alpha. No torch in here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vidiff.files import check_suffix
from vidiff.video.write import BT709, LIMITED, frame_rate, new_container

VP9_ALPHA = "libvpx-vp9"  # FFmpeg's own decoder of VP9 passes over the alpha


@dataclass(frozen=True)
class _Form:
    codec: str
    pixels: str
    options: dict[str, str]


FORMS = {
    ".mov": _Form("prores_ks", "yuva444p10le", {"profile": "4444", "alpha_bits": "16", "vendor": "apl0"}),
    # Alternative reference frames are frames that are never shown; the alpha channel, a stream of its own, has none.
    ".webm": _Form(VP9_ALPHA, "yuva420p", {"auto-alt-ref": "0", "crf": "12", "b": "0"}),
}


def write_alpha(path: str | Path, frames: np.ndarray, fps: float = 8.0, comment: str = "") -> None:
    """Write one clip with an alpha channel: .mov: ProRes 4444, for editors; .webm: VP9, for browsers.

    The color of a pixel is not multiplied by its alpha (straight alpha). 4:2:0 of VP9 halves the resolution of colors,
    not of alpha; an odd height or width gets a transparent last row or column there.

    Args:
        path: ends in .mov or .webm; missing folders are made.
        frames: uint8 (T, H, W, 4): red, green, blue, alpha.
        fps: frames per second, > 0.
        comment: for the file's header.

    Raises:
        UsageError: another suffix, or a place that cannot be written. RunError: this PyAV cannot encode it.
    """
    import av

    check_suffix(path, *FORMS)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 4:
        raise ValueError(f"expected uint8 (T, H, W, 4), got {frames.dtype} {frames.shape}")
    form, rate = FORMS[Path(path).suffix.lower()], frame_rate(fps)
    if form.pixels == "yuva420p":
        frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)))
    with new_container(path, fflags="+bitexact") as container:
        if comment:
            container.metadata["comment"] = comment
        stream = container.add_stream(form.codec, rate=rate)
        stream.height, stream.width, stream.pix_fmt, stream.options = *frames.shape[1:3], form.pixels, form.options
        context = stream.codec_context
        context.thread_count = 1
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
        if form.codec == VP9_ALPHA:
            stream.metadata["alpha_mode"] = "1"  # what players look for
        for time, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba")
            frame = frame.reformat(format=form.pixels, dst_colorspace=BT709, dst_color_range="MPEG", threads=1)
            frame.pts, frame.time_base = time, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
