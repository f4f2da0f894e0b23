"""Metric names and protocols: a name says what is computed, a protocol record everything that changes its value."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vidiff.errors import UsageError

# Bumped whenever the code of a metric changes what it returns.
CODE_VERSION = 1

PRDC = ("precision", "recall", "density", "coverage")
# name: (score, extractor, ddof)
_FIXED = {
    "fid": ("frechet", "inception_clean", 1),
    "fid_legacy": ("frechet", "inception_legacy", 1),
    "clip_distance": ("blocks", "clip_statistics", 1),
    "fvd_random": ("frechet", "rand3d", 1),
    "fd_lite0": ("frechet", "lite0", 1),
    "fd_r3d18": ("frechet", "r3d18", 1),
    "kd_r3d18": ("kernel", "r3d18", None),
    "kvd_random": ("kernel", "rand3d", None),
    "kd_lite0": ("kernel", "lite0", None),
    "swd_random": ("sliced", "rand3d", None),
    "fvd_random_inf": ("infinity", "rand3d", 1),
    "detectability": ("auroc", "clip_statistics", None),
    "motion": ("motion", "frame_difference", None),
    "flicker": ("flicker", "second_difference", None),
    "motion_difference": ("wasserstein", "frame_difference", None),
    "flicker_difference": ("wasserstein", "second_difference", None),
    "grid": ("grid", "grid_peak", None),
    "seam": ("mean", "seam_ratio", None),
    "diversity": ("diversity", "pixels", None),
    "nearest": ("nearest", "pixels", None),
    "memorized": ("memorized", "pixels", None),
    "recognizable": ("share", "recognizer", None),
    "acd_shapes": ("mean", "shape_colours", None),
    **{f"{p}_random": (p, "rand3d", None) for p in PRDC},
}
_GROUPS = {"prdc_random": [f"{p}_random" for p in PRDC]}
_I3D = re.compile(r"(fvd|kvd)([1-9]\d*)_([1-9]\d*)f(_inf)?(@sgv)?")
_FILE = {"fd@": ("frechet", 1), "kd@": ("kernel", None)}  # and the path of a TorchScript file
ACCEPTED = (
    "auto",
    "fvd<N>_<T>f (as fvd2048_16f)",
    "fvd<N>_<T>f@sgv",
    "fvd<N>_<T>f_inf",
    "kvd<N>_<T>f",
    "fd@FILE.pt",
    "kd@FILE.pt",
    *_FIXED,
    *_GROUPS,
)


@dataclass(frozen=True)
class Name:
    """A parsed metric name.

    Args:
        name: the name itself. score: which statistic. extractor: which features. ddof: of the covariance, or None.
        n: clips on the generated side that the name promises, or None. num_frames: frames that it promises, or None.
        subset: "prefix" where the name asks for StyleGAN-V's own choice of real videos (the first n of the sorted
            list), else None. official: the name is reserved for the published weights.
    """

    name: str
    score: str
    extractor: str
    ddof: int | None = None
    n: int | None = None
    num_frames: int | None = None
    subset: str | None = None

    @property
    def official(self) -> bool:
        return self.extractor in ("i3d", "inception_clean", "inception_legacy")


def parse_name(name: str) -> Name:
    """Parse a metric's name.

    `fvd2048_16f` is the Fréchet distance of 2048 generated clips of 16 frames in I3D logits, with ddof 0 as in
    StyleGAN-V (Skorokhodov et al. 2022, arXiv 2112.14683); `@sgv` adds that paper's prefix subset of the real videos,
    `_inf` is the distance extrapolated to any number of clips. `fd@net.pt` is that of features of a TorchScript file.

    Raises:
        UsageError: unknown name, with the accepted ones and the nearest.
    """
    if (match := _I3D.fullmatch(name)) and not (match[1] == "kvd" and match[4]):
        kind, n, t, infinity, sgv = match.groups()
        ddof = 0 if kind == "fvd" else None
        score = "infinity" if infinity else "frechet" if kind == "fvd" else "kernel"
        return Name(name, score, "i3d", ddof, int(n), int(t), "prefix" if sgv else None)
    if name in _FIXED:
        return Name(name, *_FIXED[name])
    if name[:3] in _FILE and len(name) > 3:
        score, ddof = _FILE[name[:3]]
        return Name(f"{name[:3]}{Path(name[3:]).stem}", score, f"file:{name[3:]}", ddof)
    names = ["fvd2048_16f", *_FIXED, *_GROUPS, "auto"]
    # A beginning counts more than a likeness: `fvd` means a video metric, although `fid` is but one letter away.
    near = [n for n in names if name and n.startswith(name)] or difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"unknown metric {name!r}.{hint} Accepted: {', '.join(ACCEPTED)}.")


def expand(names: str | Sequence[str]) -> list[str]:
    """A comma-separated string or a sequence -> single names, groups such as `prdc_random` expanded, no repeats."""
    parts = names.split(",") if isinstance(names, str) else list(names)
    out = [member for p in parts if p.strip() for member in _GROUPS.get(p.strip(), [p.strip()])]
    if not out:
        raise UsageError(f"no metric named; accepted: {', '.join(ACCEPTED)}")
    return list(dict.fromkeys(out))


@dataclass(frozen=True)
class Protocol:
    """Everything that changes a metric's value; two values compare only where the hashes are equal.

    Args:
        metric, score, extractor, sha256, official: what is computed and with which weights.
        n_real, n_fake: clips on each side. num_frames, frame_stride, fps: time. resolution: "HxW" before any resize.
        resize: the extractor's rule. frames_per_clip: frames used of each clip, None = the clip as a whole.
        split: of the real data. subset: rule that chose the real videos. offset: rule that chose the start frames.
        decode: how files became clips of this resolution. seed: of these rules. ddof: of the covariances.
        dataset: fingerprint of the real data. code_version: of the metrics.
        floor_rule, floor_n, trust, fingerprint: recorded, not hashed: they do not change the value.
    """

    metric: str
    score: str
    extractor: str
    sha256: str
    official: bool
    n_real: int
    n_fake: int
    num_frames: int
    resolution: str
    resize: str
    frames_per_clip: int | None = None
    frame_stride: int | None = None
    fps: float | None = None
    split: str | None = None
    subset: str | None = None
    offset: str | None = None
    decode: str | None = None
    seed: int | None = None
    ddof: int | None = None
    dataset: str | None = None
    code_version: int = CODE_VERSION
    floor_rule: str | None = None
    floor_n: int | None = None
    trust: str | None = None
    fingerprint: tuple[float, ...] | None = None

    def as_dict(self) -> dict:
        """Plain JSON types."""
        out = dataclasses.asdict(self)
        out["fingerprint"] = None if self.fingerprint is None else list(self.fingerprint)
        return out

    @property
    def hash(self) -> str:
        return protocol_hash(self.as_dict())


NOT_HASHED = ("floor_rule", "floor_n", "trust", "fingerprint")
# What a caller of an Evaluator gives; the rest it finds out itself.
CALLER_FIELDS = ("frame_stride", "fps", "split", "subset", "offset", "decode", "seed", "dataset")


def hashed_fields(protocol: dict) -> dict:
    return {k: v for k, v in protocol.items() if k not in NOT_HASHED}


def protocol_hash(protocol: dict) -> str:
    """First 16 hex digits of the sha256 of the canonical JSON of the hashed fields."""
    text = json.dumps(hashed_fields(protocol), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def mark_leaks(results: dict[str, dict], frozen: Sequence[str]) -> None:
    """Give results of a network that the model was trained against a `leak`, the reason not to go by them.

    A generator that lowered a distance in the features of a network in training is judged by its own teacher there.

    Args:
        results: name -> result of `Evaluator.evaluate`; changed in place.
        frozen: the sha256, or their first digits, of the networks that the model was trained against.
    """
    for result in results.values():
        sha256 = result.get("protocol", {}).get("sha256", "")
        if any(sha256.startswith(known) for known in frozen if known):
            result["leak"] = "the model was trained against this network"


def check_comparable(protocols: Sequence[Protocol | dict]) -> None:
    """Refuse to put values of different protocols side by side.

    Raises:
        UsageError: naming every field that differs, with both values.
    """
    plain = [p.as_dict() if isinstance(p, Protocol) else p for p in protocols]
    for i, other in enumerate(plain[1:], 2):
        if protocol_hash(plain[0]) == protocol_hash(other):
            continue
        a, b = hashed_fields(plain[0]), hashed_fields(other)
        diff = [f"{k}: {a.get(k)!r} against {b.get(k)!r}" for k in sorted({*a, *b}) if a.get(k) != b.get(k)]
        raise UsageError(
            f"values 1 and {i} of {a.get('metric')!r} were measured differently and cannot be compared: "
            + "; ".join(diff)
        )
