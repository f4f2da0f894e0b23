"""What the suite's pictures and videos say of themselves: made by a model, by which, of what. No torch in here.

Twice: in the file, as a comment that any player shows, and in `NAME.provenance.json` beside it, which also holds the
date and the file's sha256. Both are statements, no proof: whoever rewrites a file can leave them out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vidiff import __version__
from vidiff.errors import RunError, UsageError
from vidiff.files import sha256_of, write_json
from vidiff.video.container import comment
from vidiff.video.filetype import list_images, sniff

SUFFIX = ".provenance.json"
AI_GENERATED = f"AI generated with vidiff {__version__}"
NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"  # IPTC's terms for how media came about
MADE, ALTERED = f"{NEWSCODES}trainedAlgorithmicMedia", f"{NEWSCODES}compositeWithTrainedAlgorithmicMedia"
STATEMENT = "AI generated: made by a trained model, not recorded by a camera"
STATEMENT_ALTERED = "AI generated: a recording or another input that was altered by a trained model"
SIDECAR_LIMIT = 2**20  # bytes; ours have about a thousand


@dataclass(frozen=True)
class Origin:
    """What made a file.

    Args:
        model: the family, or the method.
        checkpoint: name of the file with the weights; empty where there is none.
        sha256: of that file.
        settings: the resolved configuration, plain values.
        seed: of what was drawn; None where nothing was.
        inputs: what else was read, such as a picture whose style was taken.
        watermark: whether a key is hidden in its frames, see `vidiff.inference.marking`; which one is said nowhere.
    """

    model: str = ""
    checkpoint: str = ""
    sha256: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: tuple[Path, ...] = ()
    watermark: bool = False

    def having(self, **settings: Any) -> Origin:
        """The same, with further settings of the command."""
        return replace(self, settings={**self.settings, **settings})

    @property
    def configuration(self) -> str:
        """sha256 of the settings as JSON with sorted keys."""
        text = json.dumps(self.settings, sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()

    def comment(self, altered: bool = False) -> str:
        """The words for a file's comment: the same for the same settings, so without a date.

        Args:
            altered: there was a video that was changed; else the whole is the model's.
        """
        parts = [AI_GENERATED, f"digitalSourceType {ALTERED if altered else MADE}"]
        parts += [f"model {self.model}"] if self.model else []
        parts += [f"checkpoint sha256 {self.sha256}"] if self.sha256 else []
        parts += [f"configuration sha256 {self.configuration}"] if self.settings else []
        parts += [] if self.seed is None else [f"seed {self.seed}"]
        parts += ["invisible watermark"] if self.watermark else []
        return "; ".join(parts)


def finish(path: Path, origin: Origin, sources: Sequence[Path] = ()) -> Path:
    """Write the sidecar of a finished file: every picture and video for people ends here; the sidecar's path.

    Args:
        path: the file, whole.
        origin: what made it.
        sources: the video that it was made of, if any: a file, or a folder of frames.
    """
    target = sidecar(path)
    content = {
        "statement": STATEMENT_ALTERED if sources else STATEMENT,
        "digitalSourceType": ALTERED if sources else MADE,
        "vidiff": __version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "media": {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)},
        "model": {"family": origin.model, "checkpoint": origin.checkpoint, "sha256": origin.sha256},
        "configuration": {
            "sha256": origin.configuration,
            "settings": json.loads(json.dumps(origin.settings, default=str)),
        },
        "seed": origin.seed,
        "watermark": origin.watermark,
        "inputs": [{"name": p.name, "sha256": _digest(p)} for p in (*sources, *origin.inputs)],
    }
    write_json(target, content)
    return target


def sidecar(path: Path) -> Path:
    """Where the sidecar of a file lies."""
    return path.with_name(path.name + SUFFIX)


def _digest(path: Path) -> str:
    """sha256 of a file; of a folder of frames, that of a text with the name and the digest of each picture."""
    if path.is_file():
        return sha256_of(path)
    lines = [f"{name} {sha256_of(path / name)}\n" for name in list_images(path)]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_provenance(path: str | Path) -> dict[str, Any]:
    """What a picture, video or array says of its origin.

    Args:
        path: the file.

    Returns:
        `file`; `comment`, the words in the file, "" where there are none; `marked`, whether they say that vidiff made
        it; `sidecar`, the content of the JSON beside it, None where there is none; `agrees`, whether the sidecar is
        about this very file (its sha256), None without one; `verdict`, all this in one line.

    Raises:
        UsageError: no such file, or no media. RunError: the sidecar is damaged.
    """
    path = Path(path)
    words = _comment(path)
    marked, beside = "AI generated with vidiff" in words, _read_sidecar(sidecar(path))
    agrees = None if beside is None else beside["media"]["sha256"] == sha256_of(path)
    if beside is not None and not agrees:
        verdict = "the file is not the one that its sidecar is about: it was changed, or exchanged, afterward"
    elif beside is not None:
        unmarked = "" if marked or path.suffix == ".npy" else "; the file itself is unmarked"
        verdict = f"file and sidecar agree{unmarked}"
    else:
        verdict = "marked as AI generated, without a sidecar" if marked else "no mark of vidiff, which proves nothing"
    return dict(file=str(path), comment=words, marked=marked, sidecar=beside, agrees=agrees, verdict=verdict)


def _comment(path: Path) -> str:
    """The comments in a picture or video; "" of an array, which can hold none."""
    if not path.is_file():
        raise UsageError(f"{path}: {'a folder, not a file' if path.is_dir() else 'no such file'}")
    kind = sniff(path)
    if kind == "array":
        return ""
    if kind == "image" or path.suffix.lower() == ".gif":
        return _picture_comment(path)
    if kind != "video":
        raise UsageError(f"{path}: neither a picture nor a video nor an array")
    return comment(path)


def _picture_comment(path: Path) -> str:
    from PIL import Image

    try:
        with Image.open(path) as image:
            found = [v for k, v in image.info.items() if k.lower() in ("comment", "description")]
    except (OSError, ValueError, SyntaxError) as error:
        raise RunError(f"{path}: not a readable picture ({error})") from error
    return "; ".join(v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in found)


def _read_sidecar(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    damaged = RunError(f"{path} is damaged: not a record of provenance that vidiff wrote")
    if path.stat().st_size > SIDECAR_LIMIT:
        raise damaged
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [content["media"], content["model"], content["configuration"]]
        text = [content[k] for k in ("statement", "digitalSourceType", "vidiff", "date")] + [parts[0]["sha256"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise damaged from None
    if not all(isinstance(p, dict) for p in parts) or not all(isinstance(t, str) for t in text):
        raise damaged
    return content
