"""The weights of official metrics: one manifest, one look-up order, sha256 checked before anything is loaded.

Imports no torch, so that `vidiff weights` answers at once.
"""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidiff.errors import RunError, UsageError
from vidiff.files import check_writable, replacing, write_text


class MetricWeightsMissing(UsageError):
    """A metric was asked for by name, and the file that defines it is not here."""


@dataclass(frozen=True)
class WeightsFile:
    """One entry of the manifest.

    Args:
        key: short name. file: file name looked for. url: where it is published. sha256: of the file, None where
            unknown (then trusted on first use and recorded). size: bytes, or None. license: in words. enables: metric
            names in words. fingerprint: eight leading features of each of two fixed clips, None where unknown.
        note: where sha256 and size come from.
    """

    key: str
    file: str
    url: str
    sha256: str | None
    size: int | None
    license: str
    enables: str
    fingerprint: tuple[float, ...] | None = None
    note: str = ""


MANIFEST = {
    w.key: w
    for w in (
        WeightsFile(
            key="i3d",
            file="i3d_torchscript.pt",
            url="https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
            sha256="bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
            size=51_235_320,
            license="not stated (Kinetics-400 I3D of the TF hub, TorchScript port by the StyleGAN-V authors)",
            enables="fvd<N>_<T>f, kvd<N>_<T>f",
            note="sha256 and size as published by several projects that use the file",
        ),
        WeightsFile(
            key="inception",
            file="weights-inception-2015-12-05-6726825d.pth",
            url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            size=95_628_359,
            license="Apache-2.0 (TensorFlow models, converted by torch-fidelity)",
            enables="fid, fid_legacy",
            note="sha256 and size as published by several projects; its first digits are part of the file's name",
        ),
    )
}


def default_folder() -> Path:
    """Where `fetch` writes: VIDIFF_WEIGHTS_DIR, else ~/.cache/vidiff/weights."""
    return Path(os.environ.get("VIDIFF_WEIGHTS_DIR") or Path.home() / ".cache" / "vidiff" / "weights")


def search_paths(entry: WeightsFile, explicit: str | Path | None = None) -> list[Path]:
    """Candidate files in order: explicit file or folder, VIDIFF_WEIGHTS_DIR, ~/.cache/vidiff/weights."""
    paths = []
    if explicit is not None:
        explicit = Path(explicit)
        paths.append(explicit if explicit.is_file() and explicit.name == entry.file else explicit / entry.file)
    if folder := os.environ.get("VIDIFF_WEIGHTS_DIR"):
        paths.append(Path(folder) / entry.file)
    paths.append(Path.home() / ".cache" / "vidiff" / "weights" / entry.file)
    return list(dict.fromkeys(paths))


def find(entry: WeightsFile, explicit: str | Path | None = None) -> Path | None:
    """The first existing candidate, or None."""
    return next((p for p in search_paths(entry, explicit) if p.is_file()), None)


def require(entry: WeightsFile, metric: str, explicit: str | Path | None = None) -> Path:
    """`find`, or a MetricWeightsMissing that says which file, where it was searched and what to do."""
    path = find(entry, explicit)
    if path is None:
        raise MetricWeightsMissing(
            f"{metric} needs the weights file {entry.file}, which is not in any of: "
            f"{', '.join(str(p.parent) for p in search_paths(entry, explicit))}. "
            f"Run `vidiff weights fetch {entry.key}`, or put the file there (VIDIFF_WEIGHTS_DIR names another folder), "
            "or ask for fvd_random or fd_lite0, which need no download."
        )
    return path


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def verify(path: Path, entry: WeightsFile) -> tuple[str, str]:
    """Check a file before it is loaded: TorchScript is code.

    Returns:
        (sha256, trust): trust is "manifest" where the sha256 is the manifest's, "first use" where the manifest has
        none and the file equals the one recorded beside it (`<file>.sha256`) on its first use.

    Raises:
        UsageError: the sha256 is another one.
    """
    sha256 = file_sha256(path)
    record = path.with_name(path.name + ".sha256")
    expected, origin, trust = entry.sha256, "the manifest's", "manifest"
    if expected is None:
        origin, trust = f"the one recorded on its first use in {record}", "first use"
        expected = record.read_text().split()[0] if record.is_file() and record.read_text().strip() else None
        if expected is None:
            expected = sha256
            try:
                write_text(record, f"{sha256}  {path.name}\n")
            except (OSError, UsageError):
                pass  # a read-only folder: every result's protocol still holds the sha256
    if sha256 != expected:
        raise UsageError(
            f"{path}: sha256 {sha256} is not {origin} {expected}; the file is damaged or another one and was not "
            f"loaded. Delete it and run `vidiff weights fetch {entry.key}`."
        )
    return sha256, trust


def fetch(
    entry: WeightsFile, folder: Path | None = None, progress: Callable[[int, int | None], None] | None = None
) -> Path:
    """Download one file to a temporary name, check size and sha256, move it into place.

    Args:
        folder: target, default `default_folder()`.
        progress: called with (bytes so far, total or None).

    Raises:
        RunError: the download failed or the content is not the manifest's; nothing is left behind.
        UsageError: the folder cannot be written.
    """
    folder = Path(folder) if folder else default_folder()
    check_writable(folder / entry.file)
    try:
        with replacing(folder / entry.file) as temporary:
            done = _download(entry, temporary, progress)
            sha256 = file_sha256(temporary)
            if entry.sha256 is not None and sha256 != entry.sha256:
                raise RunError(
                    f"{entry.url}: got {done} bytes with sha256 {sha256}, expected {entry.sha256}; nothing was kept. "
                    f"The link may have moved: put a good copy of {entry.file} into {folder} by hand."
                )
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise RunError(f"{entry.url}: download failed ({error}). Put {entry.file} into {folder} by hand.") from error
    if entry.sha256 is None:
        write_text(folder / (entry.file + ".sha256"), f"{sha256}  {entry.file}\n")
    return folder / entry.file


def _download(entry: WeightsFile, target: Path, progress: Callable[[int, int | None], None] | None) -> int:
    """Download to `target`; the number of bytes."""
    request = urllib.request.Request(entry.url, headers={"User-Agent": "vidiff"})
    with urllib.request.urlopen(request, timeout=60) as response, open(target, "wb") as out:
        length = response.headers.get("Content-Length")
        done, total = 0, int(length) if length else entry.size
        while block := response.read(1 << 18):
            out.write(block)
            done += len(block)
            if progress:
                progress(done, total)
    return done
