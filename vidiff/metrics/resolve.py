"""From metric names to things that can be computed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vidiff.metrics import acd, clip_statistics, features, official, recognizable
from vidiff.metrics import pixels as temporal
from vidiff.metrics.features import Extractor
from vidiff.metrics.protocol import Name, expand, parse_name
from vidiff.pretrained.inception import fidelity_available
from vidiff.pretrained.lite0 import lite0_available
from vidiff.pretrained.weights import MANIFEST, WeightsFile, find

# I3D halves time four times; shorter clips do not pass through it.
I3D_MIN_FRAMES = 10


@dataclass(frozen=True)
class Metric:
    """One metric ready to be computed: its parsed name and its extractor (shared between metrics that use the same).

    Every metric is a statistic of per-clip features, so an `Evaluator` runs each extractor once whatever the number
    of metrics on it.
    """

    name: str
    spec: Name
    extractor: Extractor = field(repr=False)

    @property
    def official(self) -> bool:
        return self.extractor.official


def resolve_metrics(
    names: str | Sequence[str] = "auto",
    *,
    num_clips: int = 256,
    num_frames: int = 16,
    frame_stride: int = 1,
    weights: str | Path | None = None,
    manifest: Mapping[str, WeightsFile] = MANIFEST,
) -> list[Metric]:
    """Names -> metrics, their networks loaded; call it before a run starts, so that what is missing is said then.

    `auto` = `fvd<num_clips>_<num_frames>f` and `fid` where their weights are found, `clip_distance`, `fvd_random`,
    `fd_lite0` where its package is installed, `motion`, `diversity`, `nearest`. `auto_note` says in
    words what that came to.

    Args:
        names: "auto", one comma-separated string, or a sequence (which may hold "auto" beside others).
        num_clips, num_frames: N and T of the names that `auto` builds.
        frame_stride: of the clips, for `recognizable`.
        weights: file or folder searched before VIDIFF_WEIGHTS_DIR and ~/.cache/vidiff/weights.
        manifest: known weights files; another one only in tests.

    Raises:
        UsageError: unknown name. WeightsMissing (a UsageError): a metric asked for by name has no weights.
    """
    wanted = []
    for name in expand(names):
        wanted += _auto_names(num_clips, num_frames, weights, manifest) if name == "auto" else [name]
    specs = [parse_name(name) for name in dict.fromkeys(wanted)]
    makers: dict[str, Callable[[], Extractor]] = {
        "i3d": lambda: official.I3D(weights, manifest["i3d"]),
        "inception_clean": lambda: official.Inception("clean", weights, manifest["inception"]),
        "inception_legacy": lambda: official.Inception("legacy", weights, manifest["inception"]),
        "clip_statistics": clip_statistics.ClipStatistics,
        "rand3d": features.RandomConv3d,
        "lite0": features.Lite0,
        "r3d18": lambda: features.R3D18(weights),
        "frame_difference": temporal.FrameDifference,
        "second_difference": temporal.SecondDifference,
        "grid_peak": temporal.GridPeak,
        "seam_ratio": temporal.SeamRatio,
        "pixels": temporal.Thumbnail,
        "shape_colours": acd.ShapeColors,
        "recognizer": lambda: recognizable.Recognition(frame_stride),
    }
    made: dict[str, Extractor] = {}
    for spec in specs:
        if spec.extractor not in made:
            file = spec.extractor.removeprefix("file:")
            made[spec.extractor] = features.load(file) if file != spec.extractor else makers[spec.extractor]()
    metrics = [Metric(spec.name, spec, made[spec.extractor]) for spec in specs]
    for m in metrics:
        # The rule that reserved names never stand for anything but the published weights.
        assert m.spec.official == m.extractor.official, m.name
    return metrics


def _auto_names(num_clips: int, num_frames: int, weights, manifest: Mapping[str, WeightsFile]) -> list[str]:
    names = []
    if num_frames >= I3D_MIN_FRAMES and find(manifest["i3d"], weights):
        names.append(f"fvd{num_clips}_{num_frames}f")
    if fidelity_available() and find(manifest["inception"], weights):
        names.append("fid")
    names += ["clip_distance", "fvd_random"]
    if lite0_available():
        names.append("fd_lite0")
    return [*names, *(["motion"] if num_frames > 1 else []), "diversity", "nearest"]


def auto_note(metrics: Sequence[Metric]) -> str:
    """One line for a log: what `auto` resolved to and which kinds are not available."""
    have = {m.spec.extractor for m in metrics}
    absent = [
        text
        for key, text in (
            ("i3d", "fvd (no I3D weights: `vidiff weights fetch i3d`)"),
            ("inception_clean", "fid (no Inception weights or no torch-fidelity: `vidiff weights list`)"),
            ("lite0", "fd_lite0 (pip install 'vidiff[offline]')"),
        )
        if key not in have
    ]
    note = "metrics: auto = " + ", ".join(m.name for m in metrics)
    return note + (f"; not available: {', '.join(absent)}" if absent else "")
