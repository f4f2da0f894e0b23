"""The published feature networks behind `fvd*`, `kvd*` and `fid*`: they exist only with the official weights."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.metrics.features import Extractor
from vidiff.pretrained.i3d import i3d_network
from vidiff.pretrained.inception import inception_trunk, resize_like_tensorflow1
from vidiff.pretrained.weights import MANIFEST, WeightsFile, require, verify


class _Official(Extractor):
    official = True
    trust = "manifest"

    def _load(self, metric: str, entry: WeightsFile, path: str | Path | None) -> Path:
        found = require(entry, metric, path)
        self.sha256 = verify(found, entry)  # before any byte of it is interpreted
        return found


class I3D(_Official):
    """I3D logits (400) of the TorchScript file used by StyleGAN-V: `fvd<N>_<T>f`, `kvd<N>_<T>f`.

    Carreira and Zisserman 2017 (arXiv 1705.07750); protocol of Skorokhodov et al. 2022 (arXiv 2112.14683). The module
    itself rescales 0..255 to [-1, 1] and resizes to 224 x 224; the logits before the softmax are averaged over time.

    Args:
        path: file or folder that is searched first.
        entry: the manifest's entry; another one only in tests.

    Raises:
        WeightsMissing: no file. UsageError: another sha256, not TorchScript, or not 400 features a clip.
    """

    name = "i3d_torchscript"
    dim = 400
    resize = "224x224 inside the TorchScript module (resize=True)"

    def __init__(self, path: str | Path | None = None, entry: WeightsFile = MANIFEST["i3d"]):
        super().__init__()
        file = self._load("fvd", entry, path)
        self.net = i3d_network(file)
        try:
            # A wrong module would otherwise fail (or worse, not fail) in the middle of a run.
            self(torch.zeros(1, 3, 16, 32, 32, dtype=torch.uint8))
        except (RuntimeError, ValueError, TypeError) as error:
            raise UsageError(f"{file}: not the I3D network that fvd is defined by: {error}") from error

    def features(self, clips: Tensor) -> Tensor:
        # uint8 in, so the range 0..255 that rescale=True expects is certain.
        return self.net(clips.float(), rescale=True, resize=True, return_features=True)


class Inception(_Official):
    """Inception-v3 pool features (2048) of the TensorFlow 2015 weights, of four evenly spaced frames of a clip.

    Szegedy et al. 2015 (arXiv 1512.00567). `fid` resizes to 299 x 299 as clean-fid does (Parmar et al. 2022,
    arXiv 2104.11222): bicubic with antialias, in float, clipped to 0..255. `fid_legacy` resizes as TensorFlow 1 did
    (Heusel et al. 2017, arXiv 1706.08500): bilinear, no antialias, no half-pixel centres.

    Args:
        rule: "clean" or "legacy".
        path: file or folder that is searched first.
        entry: the manifest's entry; another one only in tests.

    Raises:
        WeightsMissing: no file. UsageError: torch-fidelity missing, another sha256, or other contents.
    """

    dim = 2048
    kind = "frames"
    frames_per_clip = 4

    def __init__(self, rule: str = "clean", path: str | Path | None = None, entry: WeightsFile = MANIFEST["inception"]):
        super().__init__()
        if rule not in ("clean", "legacy"):
            raise ValueError(f"rule is 'clean' or 'legacy', got {rule!r}")
        self.rule = rule
        self.name = f"inception2015_{rule}"
        clean = "299x299 bicubic antialias (PIL's), float"
        self.resize = clean if rule == "clean" else "299x299 bilinear, TensorFlow 1 grid"
        file = self._load("fid" if rule == "clean" else "fid_legacy", entry, path)
        self.trunk = inception_trunk(file)

    def features(self, clips: Tensor) -> Tensor:
        frames = self.pick_frames(clips).float()  # (B*F, 3, H, W), 0..255
        if self.rule == "clean":
            frames = F.interpolate(frames, size=(299, 299), mode="bicubic", antialias=True).clamp(0, 255)
        else:
            frames = resize_like_tensorflow1(frames)
        return self.trunk((frames - 128) / 128).flatten(1)
