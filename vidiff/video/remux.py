"""From a video to a video file, frame by frame: times, shape, colours, sound stay, no half-written file is left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vidiff import __version__
from vidiff.errors import RunError, UsageError
from vidiff.files import check_writable, replacing
from vidiff.video.hdr import hdr_curve
from vidiff.video.pyav import Picture, PyAVReader, Reader, av_errors, film, local, orientation, pixel_aspect
from vidiff.video.tracks import Tracks

SUFFIXES = (".mp4", ".mov", ".mkv")
MARK = "translated by vidiff"  # in the comment of every output: nobody takes it for the original, this suite neither
UNTIMED_FPS = 8  # of pictures and arrays, which have no times
Change = Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]]


@dataclass
class Look:
    """How a video is to be shown.

    Args:
        rate: frames per second, roughly.
        time_base: seconds of one tick.
        aspect: width of a pixel over its height.
        primaries, transfer, matrix: of its colours, as numbers of ITU-T H.273; 2 where the source does not say.
    """

    rate: Fraction
    time_base: Fraction
    aspect: Fraction = Fraction(1)
    primaries: int = 2
    transfer: int = 2
    matrix: int = 6  # BT.601


def identities(paths: Iterable[Path]) -> set[tuple[int, int]]:
    """Device and inode of each file: links and other spellings have the same."""
    return {(status.st_dev, status.st_ino) for status in (p.stat() for p in paths if p.is_file())}


def check_output(target: Path, sources: set[tuple[int, int]]) -> None:
    """Raise UsageError where `target` is one of the sources, under whatever name, or cannot be written.

    Args:
        target: a file that need not exist.
        sources: `identities` of the inputs.
    """
    if target.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{target}: cannot write '{target.suffix}'; accepted: {', '.join(SUFFIXES)}")
    if identities([target]) & sources:
        raise UsageError(f"{target}: the output would replace the input")
    check_writable(target)


def remux(source: Path, target: Path, change: Change, say: Callable[[str], None] = print) -> int:
    """Write `target` with the frames that `change` makes of those of a film; returns their number.

    Every frame keeps its time and its duration, on a clock that starts at 0; pixel aspect and the tags of the colours
    stay. Sound is copied where the output can hold it, else encoded. H.264, 4:2:0 (4:4:4 where a side is odd).

    Args:
        source: a video file.
        target: ends in .mp4, .mov or .mkv; appears only when it is whole.
        change: RGB frames uint8 (H, W, 3) in, as many frames out in the same order (they may be of another size).
        say: is told what cannot be kept as it was.

    Raises:
        RunError: the source cannot be read, or the frames not be encoded. UsageError: the output cannot be written.
    """
    import av

    check_output(target, identities([source]))
    try:
        reader = av.open(local(source), metadata_errors="replace")
    except av_errors() as error:
        raise RunError(f"{source}: not a readable video ({_reason(error)})") from error
    with reader:
        shown = Film(reader, source, lambda text: say(f"{source}: {text}"))
        return _write(target, change(shown.frames()), shown)


def record(reader: Reader, target: Path, change: Change) -> int:
    """Write `target` with the frames that `change` makes of pictures or arrays; returns their number."""
    return _write(target, change(reader.read([i])[0] for i in range(reader.num_frames)), Slides(reader))


class Slides:
    """Pictures that follow each other evenly, as `_write` takes them."""

    metadata: dict[str, str] = {}

    def __init__(self, reader: Reader):
        rate = Fraction(reader.fps or UNTIMED_FPS).limit_denominator(1001)
        self.look, self.count, self.last_lasts = Look(rate, 1 / rate), 0, 0

    def attach(self, writer) -> None:
        """Nothing comes with them."""
        return None

    def next_time(self) -> tuple[int, int]:
        self.count += 1
        return self.count - 1, 1


class Film:
    """A film that is being read: its frames, and when and how they are to be shown.

    Args:
        reader: its open container.
        path: for messages.
        say: is told what cannot be kept as it was.
    """

    def __init__(self, reader, path: Path, say: Callable[[str], None]):
        from av.stream import Disposition

        self.reader, self.path, self.say = reader, path, say
        self.metadata, self.video = reader.metadata, film(reader, path)
        covers = Disposition.attached_pic | Disposition.timed_thumbnails
        if others := sum(not s.disposition & covers for s in reader.streams.video) - 1:
            say(f"it holds {others} more film{'s' * (others > 1)}, left out")
        rate = Fraction(self.video.average_rate or self.video.guessed_rate or 25).limit_denominator(65535)
        self.look = Look(rate, self.video.time_base)
        self.times: list[tuple[int, int]] = []  # (time, duration) in ticks, of frames that were handed out
        self.last_lasts = 0  # ticks, where the container knows better than the last frame
        # Clocks of recordings begin anywhere: take the first beginning off everything.
        used = [self.video, *reader.streams.audio]
        begins = [s.start_time * s.time_base for s in used if s.start_time is not None]
        self.begin = max(Fraction(0), min(begins, default=Fraction(0)))

    def frames(self) -> Iterator[np.ndarray]:
        """Upright RGB frames (H, W, 3), of the size of the first."""
        video, start = self.video, round(self.begin / self.video.time_base)
        # AVI, and ASF by some programs, hold decoding times, which are wrong where frames are reordered.
        reordered = video.codec_context.has_b_frames and self.reader.format.name in ("avi", "asf")
        even = reordered and not PyAVReader(self.path).timestamps()[1]
        picture, size = Picture(video, square=False), (video.codec_context.width, video.codec_context.height)
        clock = _Clock(start, max(1, round(1 / self.look.rate / video.time_base)), video.time_base)
        count = 0
        try:
            for frame in self.reader.decode(video):
                picture.complete(frame)
                if not count:
                    self._see(frame)
                if all(size) and size != (frame.width, frame.height):
                    self.say(f"its size changes to {frame.width}x{frame.height}; all of it is scaled to its first size")
                    size = (0, 0)  # said once
                self.times.append(clock(None if even else frame.pts, 0 if even else frame.duration))
                count += 1
                yield picture(frame)
        except av_errors() as error:
            raise RunError(f"{self.path}: damaged after {count} frames ({_reason(error)})") from error
        if not count:
            raise RunError(f"{self.path}: no frame can be decoded")
        if "mp4" in self.reader.format.name and video.duration and video.codec_context.has_b_frames:
            # Where frames are reordered, mp4 tells how long a packet lasts until the next one, not a frame.
            self.last_lasts = (video.start_time or 0) + video.duration - clock.last

    def _see(self, frame) -> None:
        """Learn from the first frame how the film looks."""
        aspect = pixel_aspect(self.video)
        self.look.aspect = 1 / aspect if orientation(frame)[0] else aspect
        if curve := hdr_curve(frame):
            self.say(f"HDR ({curve}) is tone-mapped to BT.709: networks see, and the output holds, 8 bits")
            self.look.primaries = self.look.transfer = self.look.matrix = 1
        else:
            self.look.primaries, self.look.transfer = int(frame.color_primaries), int(frame.color_trc)
            known = int(frame.colorspace) in (1, 2, 4, 5, 6, 7, 9)
            self.look.matrix = int(frame.colorspace) if known and frame.format.is_rgb is False else 6

    def next_time(self) -> tuple[int, int]:
        """When the next frame is to be shown, and how long."""
        return self.times.pop(0)

    def attach(self, writer) -> Tracks:
        """Give the output what comes with the film: sound, subtitles, covers."""
        if self.video.language:
            writer.streams.video[0].metadata["language"] = self.video.language
        return Tracks(self.path, writer, self.begin, self.say)


class _Clock:
    """Times that rise and start at 0, and durations, of frames that are asked about in order.

    Args:
        start: what the clock of the source shows at 0.
        one: what a frame lasts where nothing better is known. All in ticks.
        time_base: seconds of a tick.
    """

    def __init__(self, start: int, one: int, time_base: Fraction):
        self.start, self.one = start, one
        self.back = round(Fraction(1, 2) / time_base)  # further than frames are ever out of order
        self.last, self.step, self.shift = None, one, 0

    def __call__(self, pts: int | None, duration: int | None) -> tuple[int, int]:
        if self.last is None:
            time = self.start if pts is None else pts
        else:
            if pts is not None and pts + self.shift < self.last - self.back:  # somebody has put the clock back
                self.shift = self.last + self.step - pts
            time = self.last + self.one if pts is None else pts + self.shift
            time = time if time > self.last else self.last + self.one
            self.step = time - self.last
        self.last = time
        return time - self.start, duration or self.one


def _write(target: Path, images: Iterable[np.ndarray], shown: Film | Slides) -> int:
    """Encode frames; the folder, and anything in it, is made when the first has come."""
    import av

    images = iter(images)
    first = next(images)
    with replacing(target) as temporary:
        try:
            with av.open(str(temporary), "w") as writer:
                return _encode(writer, first, images, shown)
        except (av.FFmpegError, OSError) as error:
            raise RunError(f"{target}: could not be written ({_reason(error)})") from error


def _encode(writer, first: np.ndarray, images: Iterator[np.ndarray], shown: Film | Slides) -> int:
    import av

    look, lasting, count = shown.look, {}, 0
    out = _video_stream(writer, first, look)
    writer.metadata.update({k: v for k, v in shown.metadata.items() if k.lower() in ("title", "artist", "date")})
    comment = next((v for k, v in shown.metadata.items() if k.lower() == "comment"), "")
    writer.metadata["comment"] = "; ".join(filter(None, [comment, f"{MARK} {__version__}"]))
    tracks = shown.attach(writer)

    def mux(packets) -> None:
        for packet in packets:  # x264 forgets durations, and containers then guess how long the last frame stands
            packet.duration = lasting.pop(packet.pts)
            writer.mux(packet)

    image: np.ndarray | None = first
    while image is not None:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        matrix = 5 if look.matrix in (2, 6) else look.matrix  # what FFmpeg takes an untagged film for
        frame = frame.reformat(
            format=out.pix_fmt, dst_colorspace=matrix, dst_color_range="MPEG", interpolation="AREA", threads=1
        )
        (frame.pts, duration), frame.time_base = shown.next_time(), look.time_base
        lasting[frame.pts] = duration
        if tracks is not None:
            tracks.write_until(frame.pts * frame.time_base)
        mux(out.encode(frame))
        count += 1
        image = next(images, None)
    if shown.last_lasts > 0 and frame.pts in lasting:
        lasting[frame.pts] = shown.last_lasts
    mux(out.encode())
    if tracks is not None:
        tracks.write_until(None)
    return count


def _video_stream(writer, image: np.ndarray, look: Look):
    out = writer.add_stream("libx264", rate=look.rate)
    out.height, out.width = image.shape[:2]
    # 4:2:0 halves both sides; where it cannot, the size is kept and the colours are not thinned.
    out.pix_fmt = "yuv444p" if out.width % 2 or out.height % 2 else "yuv420p"
    # Without B-frames a file's last packet is its last frame, so that every frame lasts exactly as long as it did.
    out.options = {"crf": "18", "preset": "medium", "bf": "0"}
    context = out.codec_context
    context.time_base, context.thread_count = look.time_base, 1
    context.sample_aspect_ratio = look.aspect
    context.color_primaries, context.color_trc = look.primaries, look.transfer
    context.colorspace, context.color_range = look.matrix, 1  # limited range
    return out


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
