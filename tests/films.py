"""Films with sound, for the tests that read or write whole files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 16000  # of the sound, in samples per second


def film(
    path: Path,
    frames: int = 10,
    size=(32, 24),
    begin: float = 0.0,
    sounds: tuple[str, ...] = (),
    lasts: tuple[int, ...] = (10,),
    video: dict | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
) -> Path:
    """A film at 10 frames a second that flashes, and beeps, in frame 5; `lasts` hundredths of a second a frame."""
    hundredth = Fraction(1, 100)
    with av.open(str(path), "w") as writer:
        out = writer.add_stream(codec, rate=10)
        out.width, out.height, out.pix_fmt, out.codec_context.time_base = *size, pix_fmt, hundredth
        for name, value in (video or {}).items():
            setattr(out.codec_context, name, value)
        if codec == "libx264":
            out.options = {"bf": "0"}
        tracks = [writer.add_stream(name, rate=RATE, layout="mono") for name in sounds]
        for language, track in zip(("deu", "fra"), tracks):
            track.metadata["language"] = language
        time, flash, lasting = round(100 * begin), None, {}
        for i in range(frames):
            grey = np.full((*reversed(size), 3), 235 if i >= 5 else 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, hundredth
            flash = time if i == 5 else flash
            lasting[time] = lasts[min(i, len(lasts) - 1)]
            time += lasting[time]
            _mux(writer, out.encode(frame), lasting)
        _mux(writer, out.encode(), lasting)
        for track in tracks:
            beep(writer, track, begin, Fraction(time, 100), Fraction(flash, 100) if flash is not None else None)
    return path


def _mux(writer, packets, lasting) -> None:
    for packet in packets:
        packet.duration = lasting.get(packet.pts, 10)
        writer.mux(packet)


def beep(writer, track, begin: float, end: Fraction, flash: Fraction | None) -> None:
    times = begin + np.arange(round((float(end) - begin) * RATE)) / RATE
    wave = np.where(times >= float(flash or end), 20000 * np.sin(np.arange(len(times)) / 3), 0).astype(np.int16)
    size = track.codec_context.frame_size or 400
    for start in range(0, len(wave), size):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + size].copy(), format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(begin * RATE) + start
        writer.mux(track.encode(frame))
    writer.mux(track.encode(None))
