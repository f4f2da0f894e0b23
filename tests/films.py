"""Films with sound, pictures that any codec can keep, and what of one file has to be kept in another."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

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


def moving_bar(
    path: Path, frames: int = 20, size=(48, 32), rate=Fraction(25), sound: bool = False, gap: int = 1
) -> Path:
    """A moving bar; with `gap` every second frame lasts longer; with sound a tone in AAC."""
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", rate=rate)
        video.width, video.height = size
        video.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        video.codec_context.time_base = 1 / rate
        audio = writer.add_stream("aac", rate=8000) if sound else None
        if audio is not None:
            audio.layout = "mono"
            n = int(8000 * frames / rate)
            tone = np.sin(np.arange(n) / 5).astype(np.float32)[None]
            for start in range(0, n - n % 1024, 1024):
                block = av.AudioFrame.from_ndarray(tone[:, start : start + 1024].copy(), format="fltp", layout="mono")
                block.sample_rate, block.pts, block.time_base = 8000, start, Fraction(1, 8000)
                writer.mux(audio.encode(block))
            writer.mux(audio.encode())
        pts = 0
        for i in range(frames):
            image = np.full((size[1], size[0], 3), 60, np.uint8)
            image[:, i : i + 6] = (200, 120, 40)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=video.pix_fmt)
            frame.pts, frame.time_base = pts, 1 / rate
            pts += gap if i % 2 else 1
            writer.mux(video.encode(frame))
        writer.mux(video.encode())
    return path


def at_times(path: Path, frames: np.ndarray, times, crf: int = 18) -> Path:
    """RGB frames (T, H, W, 3), each shown from its own time on, in seconds, to the millisecond."""
    thousandth = Fraction(1, 1000)
    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", rate=25)
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        video.codec_context.time_base, video.options = thousandth, {"crf": str(crf)}
        for image, time in zip(frames, times):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), thousandth
            writer.mux(video.encode(frame))
        writer.mux(video.encode())
    return path


def facts(path: Path) -> dict:
    """Size, frame rate, the times of all frames, and the packets of sound."""
    with av.open(str(path)) as reader:
        video = reader.streams.video[0]
        size, rate = (video.width, video.height), video.average_rate
        times = [float(f.pts * f.time_base) for f in reader.decode(video)]
    with av.open(str(path)) as reader:
        sound = [bytes(p) for p in reader.demux(*reader.streams.audio) if p.size] if reader.streams.audio else []
    return {"size": size, "fps": float(rate), "times": times, "sound": sound}


def check_kept(source: Path, target: Path) -> None:
    """Size, times and sound of one film are those of the other."""
    a, b = facts(source), facts(target)
    assert b["size"] == a["size"] and len(b["times"]) == len(a["times"]) and b["sound"] == a["sound"]
    assert b["fps"] == pytest.approx(a["fps"], rel=5e-2)  # with uneven times it hangs on how long the last frame lasts
    steps = np.diff(a["times"])
    if (steps <= 0).any():  # an avi without times of presentation: the frames are then spaced evenly
        steps = np.full(len(steps), 1 / a["fps"])
    assert np.diff(b["times"]) == pytest.approx(steps, abs=2e-3)


def frames_of(path: Path) -> np.ndarray:
    with av.open(str(path)) as reader:
        return np.stack([f.to_ndarray(format="rgb24") for f in reader.decode(video=0)])


def ramp(t: int, h: int, w: int, c: int = 3) -> np.ndarray:
    """A smooth moving picture (T, H, W, C) that any codec can keep."""
    time, y, x = np.meshgrid(np.arange(t), np.arange(h), np.arange(w), indexing="ij")
    waves = [np.sin(x / (9 + k) + time / 5 + k) + np.cos(y / (11 - k) - k) for k in range(c)]
    return (127.5 + 55 * np.stack(waves, -1)).astype(np.uint8)


def read(path) -> tuple[np.ndarray, dict]:
    """Every frame (T, H, W, 3) of a video file, and its rate, codec and pixel format."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(stream)])
        facts = {"rate": float(stream.average_rate), "codec": stream.codec_context.name, "pix": stream.pix_fmt}
    return frames, facts


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB."""
    return 10 * math.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b.astype(float)) ** 2)))


TONES = (440.0, 880.0, 1320.0)


def toned(path: Path, third: int = 24, rate: int = 24, size=(64, 48), samples: int = 48000, codec: str = "aac") -> Path:
    """A film whose frames carry their numbers (`makers.number_of`), with a tone of its own in each third."""
    from makers import numbered

    with av.open(str(path), "w") as writer:
        video = writer.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        sound = writer.add_stream(codec, rate=samples, layout="stereo")
        for i in range(3 * third):
            writer.mux(video.encode(av.VideoFrame.from_ndarray(numbered(i, *size), format="rgb24")))
        writer.mux(video.encode())
        times = np.arange(samples * third // rate) / samples
        wave = np.concatenate([0.3 * np.sin(2 * np.pi * tone * times) for tone in TONES]).astype(np.float32)
        for start in range(0, len(wave), 1024):
            block = np.ascontiguousarray(np.stack([wave[start : start + 1024]] * 2))
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = samples, Fraction(1, samples), start
            writer.mux(sound.encode(frame))
        writer.mux(sound.encode())
    return path


def heard(path: Path, step: float = 0.05) -> list[tuple[float, float]]:
    """(frequency in Hz, loudness) of each `step` seconds of a film's sound; 0 Hz where it is silent."""
    with av.open(str(path)) as reader:
        frames = list(reader.decode(audio=0))
    rate, wave = frames[0].sample_rate, np.concatenate([f.to_ndarray()[0] for f in frames])
    wave = np.concatenate([np.zeros(max(0, round(frames[0].time * rate))), wave])
    out, size = [], round(step * rate)
    for start in range(0, len(wave) - size + 1, size):
        part = wave[start : start + size]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(size), 8 * size))
        loud = float(np.sqrt(np.mean(part**2)))
        out.append((float(np.argmax(spectrum)) * rate / (8 * size) if loud > 0.01 else 0.0, loud))
    return out
