"""Makers of small video files, good and broken; every frame carries its own number, so frames can be told apart."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def numbered(i: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Frame i: eight vertical bars, dark or bright, the bits of i."""
    bars = [225 if i >> bit & 1 else 30 for bit in range(8)]
    row = np.repeat(np.array(bars, dtype=np.uint8), width // 8)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_of(frame: np.ndarray) -> int:
    """The number that a decoded frame carries."""
    width = frame.shape[1] // 8
    middle = frame[frame.shape[0] // 2].mean(axis=1)
    return sum(1 << bit for bit in range(8) if middle[bit * width + width // 2] > 128)


def write_video(
    path: Path,
    frames: int = 20,
    codec: str = "libx264",
    fps: int = 10,
    gop: int = 8,
    size=(64, 48),
    aspect: Fraction | None = None,
    options: dict | None = None,
    container_options: dict | None = None,
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", container_options=container_options) as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options or {})
        stream.width, stream.height, stream.pix_fmt = *size, "rgb8" if codec == "gif" else "yuv420p"
        stream.codec_context.gop_size = gop
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(i, *size), format="rgb24")))
        container.mux(stream.encode())
    return path


def write_noise(path: Path, frames: int = 40) -> Path:
    """A video whose data cannot be packed, so that a hole in the middle hits coded pictures."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(10), options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.gop_size = 5
        for _ in range(frames):
            picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def damage_middle(path: Path) -> Path:
    data = bytearray(path.read_bytes())
    start, size = data.index(b"mdat") + 4, int.from_bytes(data[data.index(b"mdat") - 4 : data.index(b"mdat")], "big")
    a, b = start + size // 3, start + 2 * size // 3
    data[a:b] = b"\xff" * (b - a)
    path.write_bytes(bytes(data))
    return path


def write_audio(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_broken(folder: Path) -> dict[str, Path]:
    """One file of every kind that cannot be used at all."""
    folder.mkdir(parents=True, exist_ok=True)
    good = write_video(folder / "good.mp4").read_bytes()
    (folder / "good.mp4").unlink()
    files = {name: folder / f"{name}.mp4" for name in ("empty", "text", "noise", "cut", "no_frames", "audio")}
    files["empty"].write_bytes(b"")
    files["text"].write_text("this is not a video\n")
    files["noise"].write_bytes(np.random.default_rng(1).bytes(4000))
    files["cut"].write_bytes(good[: good.index(b"moov") - 4])
    with av.open(str(files["no_frames"]), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()  # writes the header
    write_audio(files["audio"])
    return files


def write_strip(path: Path, frames: int = 20, side: int = 32, down: bool = False, offset: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [numbered(i + offset, side, side) for i in range(frames)]
    Image.fromarray(np.concatenate(pictures, axis=0 if down else 1)).save(path, format="PNG")
    return path


def write_frames(folder: Path, frames: int = 12, size=(32, 32)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(frames):
        Image.fromarray(numbered(i, *size)).save(folder / f"frame{i}.png")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("VIDIFF_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def make():
    """The makers above, as attributes."""
    from types import SimpleNamespace

    return SimpleNamespace(
        video=write_video,
        noise=write_noise,
        damage=damage_middle,
        broken=write_broken,
        strip=write_strip,
        frames=write_frames,
        audio=write_audio,
        number_of=number_of,
        numbered=numbered,
        shared=SHARED,
    )


@pytest.fixture(scope="session")
def strips(tmp_path_factory):
    """Three classes of four strips, 20 frames of 32 x 32; video n carries the numbers 20 n onward."""
    root = tmp_path_factory.mktemp("strips")
    for n in range(12):
        write_strip(root / f"class{n % 3}" / f"{n:03d}.png", offset=20 * n)
    return root
