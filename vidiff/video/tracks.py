"""What comes with a film: its sound, subtitles and cover pictures, copied where the output can hold them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

from vidiff.video.container import av_errors, open_container

# mp4 can hold PCM by its newest edition, which hardly any player knows.
UNPLAYABLE = {"mp4": "pcm_"}
MAC = {"deu": "ger", "nld": "dut", "swe": "sve", "ell": "gre", "isl": "ice", "zho": "chi", "sqi": "alb"}  # QuickTime's
COVERS = {"mjpeg": "jpg", "png": "png"}
PREROLL = 2048  # samples that decoders of sound are given to settle
PROBE = 4  # packets that show whether a muxer takes a track


class Tracks:
    """The sound and subtitles of a film beside its frames, which come late out of their windows.

    Args:
        path: the film; opened once more.
        writer: the open output; tracks are added to it.
        begin: seconds that are taken off every time.
        warn: called with what is not copied.
    """

    def __init__(self, path: Path, writer, begin: Fraction, warn: Callable[[str], None]):
        self.writer, self.tracks = writer, {}
        self.reader = open_container(path)
        for stream in [*self.reader.streams.audio, *self.reader.streams.subtitles]:
            if track := _track(path, stream, writer, begin, warn):
                self.tracks[stream.index] = track
                keep_names(stream, track.out, writer)
        self.covers = keep_covers(self.reader, writer, warn)
        streams = [self.reader.streams[index] for index in self.tracks]
        self.packets = self.reader.demux(*streams) if streams else iter(())
        self.waiting = None

    def write_until(self, seconds: Fraction | None) -> None:
        """Write what is due before a time; None: everything, and close."""
        while self.covers:
            self.writer.mux(self.covers.pop())
        while packet := self.waiting or next(self.packets, None):
            self.waiting = None
            track = self.tracks[packet.stream.index]
            if seconds is not None and packet.dts is not None and track.due(packet) > seconds:
                self.waiting = packet
                return
            for ready in track.take(packet):
                self.writer.mux(ready)
        if seconds is None:
            for track in self.tracks.values():
                for ready in track.end():
                    self.writer.mux(ready)
            self.reader.close()


class _Copied:
    """A track whose packets are handed on as they are."""

    def __init__(self, stream, writer, begin: Fraction):
        self.out = writer.add_stream_from_template(stream)
        self.shift, self.last = -round(begin / stream.time_base), None
        self.all_shown = writer.format.name == "matroska"  # what an edit list hides in an mp4 would be heard there
        self.preroll = Fraction(PREROLL, getattr(stream, "rate", None) or 48000)
        self.strict = stream.type == "audio"  # two subtitles may begin at once

    def due(self, packet) -> Fraction:
        """When a packet is due, in seconds of the output."""
        return (packet.dts + self.shift) * packet.time_base

    def take(self, packet) -> Iterator:
        """The packets for the output that one of the source makes."""
        if packet.dts is None or packet.pts is None:  # the mark of the end
            return
        if self.all_shown and packet.is_discard and self.due(packet) < -self.preroll:
            return
        if self.last is not None and packet.dts + self.shift < self.last + self.strict:
            self.shift = self.last + (packet.duration or 1) - packet.dts  # the clock was put back
        packet.pts, packet.dts = packet.pts + self.shift, packet.dts + self.shift
        self.last = packet.dts
        packet.stream = self.out
        yield packet

    def end(self) -> Iterator:
        """The packets that were held until the end."""
        yield from ()


class Decoded:
    """The sound of a stream as samples of one kind, on the clock of the output.

    Args:
        stream: of an open container.
        begin: seconds that are taken off every time.
        layout, rate: of the samples, which are float, a plane a channel.
        warn: called where the sound is damaged.
    """

    def __init__(self, stream, begin: Fraction, layout: str, rate: int, warn: Callable[[str], None]):
        self.stream, self.layout, self.rate, self.warn = stream, layout, rate, warn
        self.shift, self.next = -begin, Fraction(0)
        self.kind = self.resampler = None

    def take(self, packet) -> Iterator:
        """The frames that a packet makes."""
        try:
            frames = self.stream.decode(packet)
        except av_errors():
            if self.warn:
                self.warn("its sound is damaged in places, which are left out")
            frames, self.warn = [], None  # reported once
        for frame in frames:
            yield from self._resampled(frame)

    def _resampled(self, frame) -> Iterator:
        import av

        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != self.kind:  # at the start, and where a broadcast goes from mono to stereo
            yield from self.end()
            self.kind, self.resampler = kind, av.AudioResampler("fltp", self.layout, self.rate)
        frame.pts = round(self._time(frame) / frame.time_base)
        yield from self.resampler.resample(frame)

    def _time(self, frame) -> Fraction:
        """When a frame is due, in seconds; a clock that was put back goes on."""
        time = self.next if frame.pts is None else frame.pts * frame.time_base + self.shift
        if time < self.next - Fraction(1, 2):
            self.shift, time = self.shift + self.next - time, self.next
        self.next = time + Fraction(frame.samples, frame.sample_rate)
        return time

    def end(self) -> Iterator:
        """The frames that were held until the end."""
        yield from self.resampler.resample(None) if self.resampler else ()


class _Encoded:
    """A track of sound that is encoded anew, as AAC."""

    def __init__(self, stream, writer, begin: Fraction, warn: Callable[[str], None]):
        layout, rate = aac_takes(stream)
        self.out = writer.add_stream("aac", rate=rate, layout=layout)
        self.out.bit_rate = 96_000 * self.out.codec_context.layout.nb_channels
        self.begin, self.sound = begin, Decoded(stream, begin, layout, rate, warn)

    def due(self, packet) -> Fraction:
        return packet.dts * packet.time_base - self.begin

    def take(self, packet) -> Iterator:
        for frame in self.sound.take(packet):
            yield from self.out.encode(frame)

    def end(self) -> Iterator:
        for frame in self.sound.end():
            yield from self.out.encode(frame)
        yield from self.out.encode(None)


def _track(path: Path, stream, writer, begin: Fraction, warn: Callable[[str], None]) -> _Copied | _Encoded | None:
    """A stream as the output can hold it; None, with a warning, where it cannot."""
    context, format_name = stream.codec_context, writer.format.name
    kind = "sound" if stream.type == "audio" else "subtitles"
    name = context.codec.canonical_name if context is not None else "a codec unknown to FFmpeg"
    avoided = format_name in UNPLAYABLE and name.startswith(UNPLAYABLE[format_name])
    if context is not None and not avoided and _takes(path, stream.index, format_name):
        return _Copied(stream, writer, begin)
    if context is None or kind == "subtitles":
        warn(f"its {kind} ({name}) cannot be kept in {format_name} and {'is' if kind == 'sound' else 'are'} left out")
        return None
    warn(f"its sound ({name}) cannot be copied to {format_name} and is encoded as AAC")
    return _Encoded(stream, writer, begin, warn)


def _takes(path: Path, index: int, format_name: str) -> bool:
    """Whether a muxer takes a stream: it is given the header and the first packets."""
    import av

    try:
        with open_container(path) as reader:
            stream = reader.streams[index]
            with av.open(io.BytesIO(), "w", format=format_name) as writer:
                out = writer.add_stream_from_template(stream)
                writer.start_encoding()
                for packet in islice((p for p in reader.demux(stream) if p.dts is not None), PROBE):
                    packet.stream = out
                    writer.mux(packet)
    except av_errors():
        return False
    return True


def aac_takes(stream) -> tuple[str, int]:
    """(layout, rate) nearest to a stream's that AAC can be encoded with."""
    import av

    rates = av.Codec("aac", "w").audio_rates
    rate = stream.rate if stream.rate in rates else 48000
    try:
        encoder = av.CodecContext.create("aac", "w")
        encoder.layout, encoder.sample_rate, encoder.format = stream.layout, rate, "fltp"
        encoder.open()
        return stream.layout.name, rate
    except av_errors():
        return "stereo", rate


def keep_covers(reader, writer, warn: Callable[[str], None]) -> list:
    """The packets of cover pictures: a track of one packet in mp4, an attachment, which is written at once, in
    Matroska; QuickTime has no place for them."""
    from av.stream import Disposition

    covers = []
    streams = [s for s in reader.streams.video if s.disposition & Disposition.attached_pic]
    for number, stream in enumerate(streams):
        packet = next((p for p in reader.demux(stream) if p.size), None)
        reader.seek(0)
        codec = stream.codec_context.name if stream.codec_context is not None else None
        if packet is None or codec not in COVERS or writer.format.name == "mov":
            warn(f"its cover picture cannot be kept in {writer.format.name} and is left out")
        elif writer.format.name == "matroska":
            suffix = COVERS[codec]
            name = f"cover{number or ''}.{suffix}"
            writer.add_attachment(name, f"image/{suffix.replace('jpg', 'jpeg')}", bytes(packet))
        else:
            packet.stream = writer.add_stream_from_template(stream)
            packet.stream.disposition = Disposition.attached_pic
            covers.append(packet)
    return covers


def keep_names(stream, out, writer) -> None:
    """Language, title and role of a track."""
    out.disposition = stream.disposition
    if title := stream.metadata.get("title"):
        out.metadata["title"] = title
    if language := stream.language:
        out.metadata["language"] = MAC.get(language, language) if writer.format.name == "mov" else language
