"""Alpha videos come back as they were, within what their codecs keep, and say that they are transparent."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from vidiff.errors import UsageError
from vidiff.video.alpha import VP9_ALPHA, write_alpha


def cutout(frames: int = 12, height: int = 32, width: int = 48) -> np.ndarray:
    """A soft disk that moves, of smooth colors: uint8 (T, H, W, 4)."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(height), np.arange(width), indexing="ij")
    colors = [127 + 100 * np.sin(x / 7 + t / 3), 127 + 100 * np.cos(y / 6), 127 + 80 * np.sin((x + y) / 9)]
    alpha = 255 * np.clip(1.3 - np.hypot(x - width / 2 - 4 * np.sin(t / 3), y - height / 2) / 12, 0, 1)
    return np.stack([*colors, alpha], -1).round().astype(np.uint8)


def decoded(path: Path) -> tuple[np.ndarray, str]:
    """Frames as a player that knows alpha decodes them, and the pixel format."""
    with av.open(str(path)) as reader:
        stream = reader.streams.video[0]
        decoder = stream.codec_context
        if path.suffix == ".webm":
            decoder = av.CodecContext.create(VP9_ALPHA, "r")
        frames = [f for packet in reader.demux(stream) for f in decoder.decode(packet if packet.size else None)]
    return np.stack([f.reformat(format="rgba", src_colorspace=1).to_ndarray() for f in frames]), frames[0].format.name


@pytest.mark.parametrize(
    ("suffix", "most", "mean", "colors"), [("mov", 2, 0.5, 1.0), ("webm", 12, 1.0, 8.0)], ids=["prores", "vp9"]
)
def test_alpha_comes_back(tmp_path, suffix, most, mean, colors):
    source, path = cutout(), tmp_path / f"a.{suffix}"
    write_alpha(path, source, fps=8, comment="words")
    back, form = decoded(path)
    assert back.shape == source.shape and form.startswith("yuva")
    difference = np.abs(back.astype(int) - source)
    assert difference[..., 3].max() <= most and difference[..., 3].mean() <= mean
    assert difference[..., :3][source[..., 3] > 64].mean() <= colors
    with av.open(str(path)) as reader:
        stream = reader.streams.video[0]
        assert reader.metadata["comment" if suffix == "mov" else "COMMENT"] == "words" and stream.average_rate == 8
        assert reader.duration == 1_500_000
        if suffix == "webm":
            assert stream.codec_context.name == "vp9" and stream.metadata["ALPHA_MODE"] == "1"
        else:
            assert stream.codec_context.name == "prores" and stream.codec_context.profile == "4444"
    again = tmp_path / f"b.{suffix}"
    write_alpha(again, source, fps=8, comment="words")
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("suffix", "shape"), [("mov", (31, 45)), ("webm", (32, 46))])
def test_odd_sides(tmp_path, suffix, shape):
    write_alpha(tmp_path / f"a.{suffix}", cutout(3, 31, 45))
    back, _ = decoded(tmp_path / f"a.{suffix}")
    assert back.shape == (3, *shape, 4) and back[:, 31:, :, 3].max(initial=0) <= 40


def test_what_is_refused(tmp_path):
    with pytest.raises(UsageError, match="accepted: .mov, .webm"):
        write_alpha(tmp_path / "a.mp4", cutout(1))
    with pytest.raises(ValueError, match=r"expected uint8 \(T, H, W, 4\)"):
        write_alpha(tmp_path / "a.mov", cutout(1)[..., :3])
    assert not list(tmp_path.iterdir())
