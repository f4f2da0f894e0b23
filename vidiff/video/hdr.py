"""High dynamic range (PQ, HLG) as the 8-bit BT.709 that networks are trained on: FFmpeg's own tone mapping."""

from __future__ import annotations

import os
import shlex
import threading
from fractions import Fraction

from vidiff.video.reader import ReadError

CURVES = {16: "PQ", 18: "HLG"}  # transfer characteristics by their numbers in ITU-T H.273
BT2020 = (9, 10)  # the matrices of such films
BY_HAND = (
    "ffmpeg -i {path} -vf zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=hable,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p -c:a copy sdr.mkv"
)


def hdr_curve(frame) -> str | None:
    """`PQ` or `HLG`; None for a frame of standard range."""
    return CURVES.get(int(frame.color_trc))


_made = threading.local()  # a graph takes seconds to make, and serves one thread of one process


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
