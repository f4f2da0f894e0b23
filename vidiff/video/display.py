"""Decoded frames as they are to be displayed: RGB, upright, of one size, of standard range. No torch in here."""

from __future__ import annotations

import os
import shlex
import threading
from fractions import Fraction

import numpy as np

from vidiff.video.reader import ReadError

# What a frame says of its colours, and the values that say nothing.
UNKNOWN = {"color_primaries": (0, 2), "color_trc": (0, 2), "colorspace": (2,), "color_range": (0,)}
ASPECT = 16  # pixels more than so many times as wide as high, or as high as wide, are a fault of the header
CURVES = {16: "PQ", 18: "HLG"}  # transfer characteristics by their numbers in ITU-T H.273
BT2020 = (9, 10)  # the matrices of such films
BY_HAND = (
    "ffmpeg -i {path} -vf zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=hable,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p -c:a copy sdr.mkv"
)
_made = threading.local()  # a graph takes seconds to make, and serves one thread of one process


def pixel_aspect(stream) -> Fraction:
    """Width of a pixel over its height; 1 where the file does not say or cannot mean it."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if aspect and Fraction(1, ASPECT) <= aspect <= ASPECT else Fraction(1)


class Picture:
    """Decoded frames as RGB pictures: turned and mirrored as the file asks, all of one size.

    Args:
        stream: freshly opened: its size is the first frame's, and a recording that changes it is scaled to that.
        square: make pixels square (the width changes); False keeps the stored pixels.
    """

    def __init__(self, stream, square: bool = True):
        from av.video.reformatter import Interpolation, VideoReformatter

        # One for all frames: a frame's own `reformat` makes a new scaler, and its threads, each time.
        self._scaler, self._rule = VideoReformatter(), Interpolation.BILINEAR
        aspect = pixel_aspect(stream) if square else 1
        context = stream.codec_context
        self._stored = (max(1, round(context.width * aspect)), context.height) if context.height else None
        self._path = stream.container.name
        self._colors = {name: getattr(context, name) for name in UNKNOWN}

    def __call__(self, frame, height: int | None = None, width: int | None = None) -> np.ndarray:
        """uint8 (H, W, 3), of the size given or, without one, as displayed."""
        transposed, down, across = orientation(frame)
        self.complete(frame)
        frame = tone_map(frame, self._path) if hdr_curve(frame) else frame
        size = (height, width) if transposed else (width, height)
        if not (height and width):
            size = self._stored = self._stored or (frame.width, frame.height)
        image = self._scaler.reformat(frame, *size, format="rgb24", interpolation=self._rule, threads=1).to_ndarray()
        image = image.swapaxes(0, 1) if transposed else image
        return np.ascontiguousarray(image[:: -1 if down else 1, :: -1 if across else 1])

    def complete(self, frame) -> None:
        """Give a frame the colour tags that only the container has."""
        for name, value in self._colors.items():
            if getattr(frame, name) in UNKNOWN[name] and value not in UNKNOWN[name]:
                setattr(frame, name, value)


def orientation(frame) -> tuple[bool, bool, bool]:
    """(transposed, then top to bottom, then left to right) of a frame's display matrix: eight cases.

    The matrix takes column x and row y to column a x + c y and row b x + d y.
    """
    from av.sidedata.sidedata import Type

    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(float)
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def hdr_curve(frame) -> str | None:
    """`PQ` or `HLG`; None for a frame of standard range."""
    return CURVES.get(int(frame.color_trc))


def tone_map(frame, path: str):
    """A frame of high dynamic range as an RGB frame of standard range, of the same size.

    Luminance is rolled off towards white (`scale` with the perceptual intent), BT.2020 is mapped into BT.709.

    Args:
        frame: PQ or HLG.
        path: for the message.

    Raises:
        ReadError: this FFmpeg cannot do it; the message holds a command that does.
    """
    import av

    key = (os.getpid(), frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_trc)
    try:
        if int(frame.colorspace) not in (2, *BT2020):
            raise ValueError("its colours are in a matrix that FFmpeg does not map")
        if getattr(_made, "key", None) != key:
            _made.graph, _made.key = _graph(frame), key
        _made.graph.push(frame)
        return _made.graph.pull()
    except (av.FFmpegError, ValueError) as error:
        _made.key = None
        command = BY_HAND.format(path=shlex.quote(path))
        reason = f"HDR ({hdr_curve(frame)}) cannot be tone-mapped here ({error}); this does it: {command}"
        raise ReadError(path, reason) from error


def _graph(frame):
    import av.filter

    graph = av.filter.Graph()
    graph.threads = 1  # threads do not survive the fork of a worker
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base or Fraction(1, 25)
    )
    scale = graph.add("scale", "out_transfer=bt709:out_primaries=bt709:out_range=pc:intent=perceptual")
    rgb, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(rgb)
    rgb.link_to(sink)
    graph.configure()
    return graph
