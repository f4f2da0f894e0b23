"""From a video file to a video file, frame by frame: times, size and sound stay, no half-written file is left."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidiff.data.pyav import Picture
from vidiff.errors import RunError, UsageError

SUFFIXES = (".mp4", ".mov", ".mkv")
COPIED = {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "flac", "opus"}  # sound that mp4 can hold


def remux(
    source: Path,
    target: Path,
    change: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]],
    say: Callable[[str], None] = print,
) -> int:
    """Write `target` with the frames that `change` makes of those of `source`; returns their number.

    Every frame keeps its time, and sound is copied unchanged. H.264, 4:2:0 (4:4:4 where a side is odd).

    Args:
        source: a video file.
        target: ends in .mp4, .mov or .mkv; appears only when it is whole.
        change: RGB frames uint8 (H, W, 3) in, as many frames out in the same order (they may be of another size).
        say: is told when sound cannot be copied.

    Raises:
        RunError: the source cannot be read, or the frames not be encoded. UsageError: another suffix.
    """
    import av

    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target}: cannot write '{target.suffix}'; accepted: {', '.join(SUFFIXES)}")
    if target.resolve() == source.resolve():
        raise UsageError(f"{target}: the output would replace the input")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}-{os.getpid()}{target.suffix.lower()}")
    try:
        try:
            with av.open(str(source)) as reader, av.open(str(temporary), "w") as writer:
                count = _copy(reader, writer, change, lambda text: say(f"{source}: {text}"))
        except (av.FFmpegError, OSError) as error:
            raise RunError(f"{source}: {error}") from error
        if not count:
            raise RunError(f"{source}: no frame can be decoded")
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return count


def _copy(reader, writer, change, say) -> int:
    """The work of `remux` between two open containers."""
    import av

    if not reader.streams.video:
        raise RunError(f"{reader.name}: it holds no video stream")
    video = reader.streams.video[0]
    video.codec_context.thread_count = 1
    rate = Fraction(video.average_rate or video.guessed_rate or 25).limit_denominator(65535)
    times: deque[int] = deque()

    def frames() -> Iterator[np.ndarray]:
        """Decoded frames, upright; the time of each goes to `times`."""
        picture = Picture(video, square=False)
        last, one = None, max(1, round(1 / rate / video.time_base))
        even = reader.format.name == "avi"  # has decoding times only, wrong where frames are reordered
        for frame in reader.decode(video):
            good = frame.pts is not None and (last is None or frame.pts > last and not even)
            last = frame.pts if good else 0 if last is None else last + one
            times.append(last)
            yield picture(frame)

    out, count = None, 0
    with av.open(reader.name) as again:  # sound is read beside the frames, which come late out of their windows
        sound = _Sound(again, writer, say)
        for image in change(frames()):
            if out is None:
                out = _video_stream(writer, image, rate, video.time_base)
                sound.declare()
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(
                format=out.pix_fmt, dst_colorspace="ITU601", dst_color_range="MPEG", interpolation="AREA"
            )
            frame.pts, frame.time_base = times.popleft(), video.time_base
            sound.copy_until(frame.pts * frame.time_base)
            writer.mux(out.encode(frame))
            count += 1
        if out is not None:
            writer.mux(out.encode())
            sound.copy_until(None)
    return count


def _video_stream(writer, image: np.ndarray, rate: Fraction, time_base: Fraction):
    out = writer.add_stream("libx264", rate=rate)
    out.height, out.width = image.shape[:2]
    # 4:2:0 halves both sides; where it cannot, the size is kept and the colours are not thinned.
    out.pix_fmt = "yuv444p" if out.width % 2 or out.height % 2 else "yuv420p"
    out.options = {"crf": "18", "preset": "medium"}
    out.codec_context.time_base, out.codec_context.thread_count = time_base, 1
    out.codec_context.colorspace, out.codec_context.color_range = 6, 1  # BT.601, limited range
    return out


class _Sound:
    """The sound tracks of a file, copied packet by packet."""

    def __init__(self, reader, writer, say):
        self.reader, self.writer, self.outs = reader, writer, {}
        self.streams = []
        for stream in reader.streams.audio:
            name = stream.codec_context.codec.canonical_name if stream.codec_context is not None else "unknown"
            if name in COPIED:
                self.streams.append(stream)
            else:
                say(f"the sound ({name}) cannot be copied and is left out")
        self.packets = reader.demux(*self.streams) if self.streams else iter(())
        self.waiting = None

    def declare(self) -> None:
        """Add the tracks to the output; before anything is written to it."""
        self.outs = {s.index: self.writer.add_stream_from_template(s) for s in self.streams}

    def copy_until(self, seconds: Fraction | None) -> None:
        """Copy what is due before a time; None: everything."""
        while True:
            packet = self.waiting or next(self.packets, None)
            self.waiting = None
            if packet is None:
                return
            if packet.dts is None:  # the mark of the end
                continue
            if seconds is not None and packet.dts * packet.time_base > seconds:
                self.waiting = packet
                return
            packet.stream = self.outs[packet.stream.index]
            self.writer.mux(packet)
