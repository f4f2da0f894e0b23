"""Parts of a film, each changed in its own way, joined into a film: frames as they come, sound in step. No torch."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from vidiff.errors import RunError
from vidiff.progress import track
from vidiff.video.remux import Beside, Change, Film, open_film, write_film
from vidiff.video.segments import Clock, Segment
from vidiff.video.sound import EditedTracks
from vidiff.video.timeline import Part, Timeline


class Assembly:
    """An edited film that is being written; to `write_film` what `Film` is.

    Args:
        film: the source, open.
        timeline: of the parts.
        changes: of each part, as many frames out as in.
    """

    last_lasts = 0

    def __init__(self, film: Film, timeline: Timeline, changes: Sequence[Change]):
        self.film, self.timeline, self.changes = film, timeline, changes
        self.form, self.metadata, self.times = film.form, film.metadata, timeline.times()

    def attach(self, writer) -> Beside:
        """Sound, copied where every frame is shown when it was, and what else comes with the film."""
        if self.timeline.unchanged:
            return self.film.attach(writer)
        if self.film.video.language:
            writer.streams.video[0].metadata["language"] = self.film.video.language
        return EditedTracks(self.film.path, writer, self.film.begin, self.timeline.pieces(), self.film.warn)

    def frames(self, source: Iterable[np.ndarray], first: int = 0) -> Iterator[np.ndarray]:
        """The film's frames; of the source as many are held as are cross-faded, and what a change holds.

        Args:
            source: RGB frames uint8 (H, W, 3) of the film from number `first` on.
        """
        source, place = iter(source), first
        parts, held = self.timeline.parts, []
        for number, (part, change) in enumerate(zip(parts, self.changes)):
            deque(islice(source, part.start - place), maxlen=0)  # what is left out
            own, place = islice(source, part.end - part.start), part.end
            kept = part.count - (parts[number + 1].fade if number + 1 < len(parts) else 0)
            coming, made = [], 0
            for image in change(retimed(own, part.end - part.start, part.count)):
                if made < part.fade:
                    image = mixed(held[made], image, (made + 1) / (part.fade + 1))
                made += 1
                if made > kept:
                    coming.append(image)
                else:
                    yield image
            deque(own, maxlen=0)
            if made != part.count:
                raise RunError(f"{self.film.path}: it was changed while it was read: {made} frames, not {part.count}")
            held = coming


def retimed(frames: Iterable[np.ndarray], number: int, count: int) -> Iterator[np.ndarray]:
    """`count` of `number` frames, evenly: the k-th is frame floor((k + 1/2) number / count); some are left out, or
    repeated."""
    if count == number:
        yield from frames
        return
    frames, place, frame = iter(frames), -1, None
    for k in range(count):
        while place < (2 * k + 1) * number // (2 * count):
            if (frame := next(frames, None)) is None:
                return  # the film is shorter than it was
            place += 1
        yield frame


def mixed(before: np.ndarray, image: np.ndarray, weight: float) -> np.ndarray:
    """(1 - w) a + w b of two frames uint8 (H, W, 3), rounded to nearest."""
    return ((1 - weight) * before.astype(np.float32) + weight * image + 0.5).astype(np.uint8)


def assemble(
    source: Path,
    target: Path,
    clock: Clock,
    parts: Sequence[Part],
    changes: Sequence[Change],
    warn: Callable[[str], None],
    made: str = "",
) -> Timeline:
    """Write `target`: the parts of a film, each through its own change, joined.

    Args:
        source: a video file.
        target: a .mp4, .mov or .mkv; appears only when it is whole.
        clock: of the source, see `read_clock`.
        parts: in order; what no part holds is left out.
        changes: one for each part.
        warn: called with what cannot be kept as it was.
        made: by what, for the comment of the file.

    Raises:
        RunError: the source cannot be read. UsageError: the output cannot be written.
    """
    timeline = Timeline(clock, parts)
    with open_film(source, warn) as film:
        wanted = [change for part, change in zip(parts, changes) if part.count]
        assembly = Assembly(film, timeline, wanted)
        images = assembly.frames(film.frames())
        write_film(target, track(images, source.name, timeline.num_frames), assembly, made, "edited by vidiff")
    return timeline


def cut(source: Path, folder: Path, clock: Clock, segments: Sequence[Segment], warn: Callable[[str], None]) -> None:
    """Write each segment of a film as a file of its own, `NAME-001.mp4`; the film is decoded once."""
    with open_film(source, warn) as film:
        frames = track(film.frames(), f"cutting {source.name}", clock.num_frames)
        for number, segment in enumerate(segments, 1):
            part = Part(segment.start, segment.end, segment.end - segment.start)
            assembly = Assembly(film, Timeline(clock, [part]), [iter])
            images, about = assembly.frames(frames, segment.start), f"frames {segment.start} to {segment.end}"
            write_film(cut_path(source, folder, number), images, assembly, about, "cut by vidiff")


def cut_path(source: Path, folder: Path, number: int) -> Path:
    """Where `cut` writes a segment."""
    return folder / f"{source.stem}-{number:03d}.mp4"
