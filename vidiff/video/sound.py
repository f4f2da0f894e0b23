"""The sound of an edited film: pieces of that of its source, faster or slower, cross-faded. No torch in here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np

from vidiff.video.container import av_errors, open_container
from vidiff.video.timeline import Piece
from vidiff.video.tracks import Decoded, aac_takes, keep_covers, keep_names

JITTER = Fraction(1, 50)  # seconds that the times of sound may be off before a gap is filled, or an overlap cut
BLOCK = 4096  # samples


class EditedTracks:
    """What comes with an edited film: every track of sound, as AAC, and its covers.

    Args:
        path: the source; opened once more for each track.
        writer: the open output; tracks are added to it.
        begin: seconds that are taken off every time of the source.
        pieces: what is heard of it.
        warn: called with what is not kept.
    """

    def __init__(self, path: Path, writer, begin: Fraction, pieces: Sequence[Piece], warn: Callable[[str], None]):
        self.writer = writer
        with open_container(path) as reader:
            if reader.streams.subtitles:
                warn("its subtitles are left out: the frames that they belong to are moved")
            self.tracks = [_Track(path, stream, writer, begin, pieces, warn) for stream in reader.streams.audio]
            self.covers = keep_covers(reader, writer, warn)

    def write_until(self, seconds: Fraction | None) -> None:
        """Write what is due before a time; None: everything."""
        while self.covers:
            self.writer.mux(self.covers.pop())
        for track in self.tracks:
            while (packet := track.waiting()) and (
                seconds is None or packet.dts is None or packet.dts * packet.time_base <= seconds
            ):
                self.writer.mux(packet)
                track.packet = None


class _Track:
    """One track of sound; `waiting` is its next packet, None behind the last, until `packet` is set to None."""

    def __init__(self, path: Path, stream, writer, begin: Fraction, pieces: Sequence[Piece], warn):
        self.path, self.index, self.begin, self.pieces, self.warn = path, stream.index, begin, pieces, warn
        self.layout, self.rate = aac_takes(stream)
        self.out = writer.add_stream("aac", rate=self.rate, layout=self.layout)
        self.channels = self.out.codec_context.layout.nb_channels
        self.out.bit_rate = 96_000 * self.channels
        keep_names(stream, self.out, writer)
        self.packet, self.packets = None, self._packets()

    def waiting(self):
        self.packet = self.packet or next(self.packets, None)
        return self.packet

    def _packets(self) -> Iterator:
        import av

        count = 0
        for samples in edited(self._samples(), self.pieces, self.rate, self.layout, self.channels):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self.layout)
            frame.sample_rate, frame.time_base, frame.pts = self.rate, Fraction(1, self.rate), count
            count += samples.shape[1]
            yield from self.out.encode(frame)
        yield from self.out.encode(None)

    def _samples(self) -> Iterator[np.ndarray]:
        """The track from the beginning of the film on, float32 (channels, any): gaps are silence."""
        count = 0
        for frame in self._frames():
            samples = frame.to_ndarray()
            place = round(frame.pts * frame.time_base * self.rate)
            if place < 0 or abs(place - count) > JITTER * self.rate:
                if place > count:
                    yield np.zeros((self.channels, place - count), np.float32)
                samples = samples[:, max(0, count - place) :]
                count = max(count, place)
            count += samples.shape[1]
            yield samples

    def _frames(self) -> Iterator:
        with open_container(self.path) as reader:
            stream = reader.streams[self.index]
            sound = Decoded(stream, self.begin, self.layout, self.rate, self.warn)
            try:
                for packet in reader.demux(stream):
                    yield from sound.take(packet)
            except av_errors():
                self.warn("its sound is cut off")
            yield from sound.end()


def edited(
    source: Iterable[np.ndarray], pieces: Sequence[Piece], rate: int, layout: str, channels: int
) -> Iterator[np.ndarray]:
    """The samples of an edited film, as many as its pieces last: what the source lacks is silence.

    Two pieces are mixed over F samples with weights that rise evenly: (1 - w) a + w b, w = (j + 1/2) / F.

    Args:
        source: float32 (channels, any), what is heard from the beginning of the source on.
        pieces: in order, of the source and of the film.
        rate: samples per second.
        layout: of the channels, as FFmpeg calls it.
        channels: their number.
    """
    tempos = [float((piece.end - piece.start) / piece.lasts) for piece in pieces]
    signal = _Signal(source, channels, max(preroll(tempo, rate) for tempo in tempos))
    held = np.zeros((channels, 0), np.float32)  # of the piece before, to be mixed with the next
    for number, (piece, tempo) in enumerate(zip(pieces, tempos)):
        following = pieces[number + 1] if number + 1 < len(pieces) else None
        begin = round(piece.at * rate)
        end = round((following.at + following.fade if following else piece.at + piece.lasts) * rate)
        keep = (round(following.at * rate) if following else end) - begin  # samples before the next one begins
        samples = signal.between(*(round(at * rate) for at in (piece.start, piece.end)), preroll(tempo, rate))
        mixed, done, tail = held, 0, []
        for block in _fitted(stretched(samples, tempo, rate, layout), end - begin, channels):
            if (fading := min(block.shape[1], mixed.shape[1] - done)) > 0:
                weight = (np.arange(done, done + fading, dtype=np.float32) + 0.5) / mixed.shape[1]
                block = block.copy()
                block[:, :fading] = (1 - weight) * mixed[:, done : done + fading] + weight * block[:, :fading]
            ready = max(0, min(block.shape[1], keep - done))
            done += block.shape[1]
            if ready:
                yield block[:, :ready]
            if ready < block.shape[1]:
                tail.append(block[:, ready:])
        held = np.concatenate(tail, axis=1) if tail else held[:, :0]
    if held.shape[1]:
        yield held


class _Signal:
    """A stream of samples of which spans that follow each other are asked for."""

    def __init__(self, source: Iterable[np.ndarray], channels: int, past: int):
        self.source, self.place = iter(source), 0  # `place`: number of the block's first sample
        self.block = np.zeros((channels, 0), np.float32)
        self.past = np.zeros((channels, past), np.float32)  # what came before; silence before the beginning

    def between(self, start: int, end: int, before: int = 0) -> Iterator[np.ndarray]:
        """The samples from `start` to `end`, as far as there are any, with so many of those before in front."""
        while self.place < end:
            if not self.block.shape[1]:
                if (block := next(self.source, None)) is None:
                    return
                self.block = block
            taken = min(self.block.shape[1], (start if self.place < start else end) - self.place)
            out, self.block = self.block[:, :taken], self.block[:, taken:]
            if self.place >= start:
                if before:
                    yield self.past[:, self.past.shape[1] - before :]
                    before = 0
                yield out
            self.place += taken
            self.past = np.concatenate([self.past, out], axis=1)[:, taken:]


def _fitted(blocks: Iterable[np.ndarray], length: int, channels: int) -> Iterator[np.ndarray]:
    """So many samples: what is more is cut off, what is missing is silence."""
    left = length
    for block in blocks:
        if left <= 0:
            continue  # `blocks` is read to its end: the next piece begins there
        yield block[:, :left]
        left -= min(left, block.shape[1])
    while left > 0:
        yield np.zeros((channels, min(left, BLOCK)), np.float32)
        left -= min(left, BLOCK)


def stages(tempo: float) -> tuple[int, float]:
    """How many filters `atempo` a tempo takes, each from half to twice the speed, and the tempo of each."""
    if abs(tempo - 1) < 1e-9:
        return 0, 1.0
    count = max(1, math.ceil(abs(math.log2(tempo)) - 1e-9))
    return count, tempo ** (1 / count)


def preroll(tempo: float, rate: int) -> int:
    """Samples that `stretched` hides at its beginning.

    A filter of tempo t gives at its time s what came in at t s + W / 2, W the power of two above rate / 24: it is fed
    that much of what was heard before.
    """
    count, each = stages(tempo)
    half = 2 ** math.ceil(math.log2(rate / 24)) / 2
    return round(sum(half * each**k for k in range(count)))


def stretched(blocks: Iterable[np.ndarray], tempo: float, rate: int, layout: str) -> Iterator[np.ndarray]:
    """Sound that is played `tempo` times as fast at the same pitch, by FFmpeg's `atempo`; see `preroll`.

    Args:
        blocks: float32 (channels, any).
        tempo: above 0; 1 gives the samples as they are.
        rate, layout: of the sound.
    """
    number, each = stages(tempo)
    if not number:
        yield from blocks
        return
    import av
    import av.filter

    graph = av.filter.Graph()
    first = last = graph.add_abuffer(sample_rate=rate, format="fltp", layout=layout, time_base=Fraction(1, rate))
    filters = [graph.add("atempo", repr(each)) for _ in range(number)]
    filters += [graph.add("aformat", "sample_fmts=fltp"), graph.add("abuffersink")]  # atempo makes packed samples
    for filter in filters:
        last.link_to(filter)
        last = filter
    graph.configure()
    count, rest = 0, np.zeros((av.AudioLayout(layout).nb_channels, preroll(tempo, rate)), np.float32)
    for block in chain(blocks, [rest]):  # behind the end silence, so that what the filters hold comes out
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), count
        count += block.shape[1]
        first.push(frame)
        yield from _pulled(last)
    first.push(None)
    yield from _pulled(last)


def _pulled(sink) -> Iterator[np.ndarray]:
    """What a graph has ready."""
    import av

    while True:
        try:
            frame = sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        yield frame.to_ndarray()
