"""High dynamic range (PQ, HLG) as the 8-bit BT.709 that networks are trained on: FFmpeg's own tone mapping."""

from __future__ import annotations

from vidiff.data.images import ReadError

CURVES = {16: "PQ", 18: "HLG"}  # transfer characteristics by their numbers in ITU-T H.273
BT2020 = (9, 10)  # the matrices of such films
BY_HAND = (
    "ffmpeg -i {path} -vf zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=hable,"
    "zscale=t=bt709:m=bt709:r=tv,format=yuv420p -c:a copy sdr.mkv"
)


def hdr_curve(frame) -> str | None:
    """`PQ` or `HLG`; None for a frame of standard range."""
    return CURVES.get(int(frame.color_trc))


class ToneMap:
    """Frames of high dynamic range as RGB frames of standard range, of the same size.

    Luminance is rolled off towards white (`scale` with the perceptual intent) and BT.2020 is mapped into BT.709.

    Raises:
        ReadError: where this FFmpeg cannot do it; the message holds a command that does.
    """

    def __init__(self, path: str):
        self.path, self._key, self._graph = path, None, None

    def __call__(self, frame):
        import av

        key = (frame.format.name, frame.width, frame.height, frame.colorspace, frame.color_range, frame.color_trc)
        try:
            if int(frame.colorspace) not in (2, *BT2020):
                raise ValueError("its colours are in a matrix that FFmpeg does not map")
            if key != self._key:
                self._key, self._graph = key, _graph(frame)
            # Times are not needed here, and a graph is fussy about them.
            self._graph.push(frame)
            return self._graph.pull()
        except (av.FFmpegError, ValueError) as error:
            command = BY_HAND.format(path=self.path)
            reason = f"HDR ({hdr_curve(frame)}) cannot be tone-mapped here ({error}); this does it: {command}"
            raise ReadError(self.path, reason) from error


def _graph(frame):
    import av.filter

    graph = av.filter.Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format.name, time_base=None)
    scale = graph.add("scale", "out_transfer=bt709:out_primaries=bt709:out_range=pc:intent=perceptual")
    rgb, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(rgb)
    rgb.link_to(sink)
    graph.configure()
    return graph
