"""The published feature networks behind `fvd*`, `kvd*` and `fid*`: they exist only with the official weights."""

from __future__ import annotations

import importlib.util
import io
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.metrics.features import Extractor
from vidiff.pretrained.weights import MANIFEST, WeightsFile, require, verify


def fidelity_available() -> bool:
    return importlib.util.find_spec("torch_fidelity") is not None


class _Official(Extractor):
    official = True

    def _load(self, metric: str, entry: WeightsFile, path: str | Path | None) -> Path:
        found = require(entry, metric, path)
        self.sha256, self.trust = verify(found, entry)  # before any byte of it is interpreted
        return found

    def _check_fingerprint(self, entry: WeightsFile) -> None:
        if entry.fingerprint is None:
            return
        got, known = torch.tensor(self.fingerprint()), torch.tensor(entry.fingerprint)
        if got.shape != known.shape or not torch.allclose(got, known, rtol=1e-3, atol=1e-3):
            raise UsageError(
                f"{self.name}: features of the two reference clips are {got.tolist()}, expected {known.tolist()}; "
                "this build of torch does not reproduce the published network"
            )


class I3D(_Official):
    """I3D logits (400) of the TorchScript file used by StyleGAN-V: `fvd<N>_<T>f`, `kvd<N>_<T>f`.

    Carreira and Zisserman 2017 (arXiv 1705.07750); protocol of Skorokhodov et al. 2022 (arXiv 2112.14683). The module
    itself rescales 0..255 to [-1, 1] and resizes to 224 x 224; the logits before the softmax are averaged over time.

    Args:
        path: file or folder that is searched first.
        entry: the manifest's entry; another one only in tests.

    Raises:
        MetricWeightsMissing: no file. UsageError: another sha256, not TorchScript, or not 400 features a clip.
    """

    name = "i3d_torchscript"
    dim = 400
    resize = "224x224 inside the TorchScript module (resize=True)"

    def __init__(self, path: str | Path | None = None, entry: WeightsFile = MANIFEST["i3d"]):
        super().__init__()
        file = self._load("fvd", entry, path)
        try:
            with warnings.catch_warnings():
                # The published file is TorchScript, whatever torch recommends for new ones.
                warnings.filterwarnings("ignore", message=".*torch.jit.load", category=FutureWarning)
                self.net = torch.jit.load(str(file), map_location="cpu").eval()
        except RuntimeError as error:
            raise UsageError(f"{file}: not a TorchScript file ({str(error).splitlines()[0]})") from error
        try:
            # A wrong module would otherwise fail (or worse, not fail) in the middle of a run.
            self(torch.zeros(1, 3, 16, 32, 32, dtype=torch.uint8))
        except (RuntimeError, ValueError, TypeError) as error:
            raise UsageError(f"{file}: not the I3D network that fvd is defined by: {error}") from error
        self._check_fingerprint(entry)

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
        MetricWeightsMissing: no file. UsageError: torch-fidelity missing, another sha256, or other contents.
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
        if not fidelity_available():
            raise UsageError("fid needs the package torch-fidelity: pip install 'vidiff[fid]'")
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        try:
            state = torch.load(file, map_location="cpu", weights_only=True)
            # The library's own loader unpickles freely: it is given bytes written here from plain tensors instead.
            plain = io.BytesIO()
            torch.save(state, plain)
            plain.seek(0)
            with keyed.forked("inception"):  # building a network draws from the global RNG
                net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=plain)
        except Exception as error:
            raise UsageError(f"{file}: not the Inception weights that fid is defined by: {error}") from error
        # Children stand in the order of the forward pass, stem to average pool; the last is the classifier.
        self.trunk = nn.Sequential(*list(net.children())[:-1]).requires_grad_(False).eval()
        self._check_fingerprint(entry)

    def features(self, clips: Tensor) -> Tensor:
        frames = self.pick_frames(clips).float()  # (B*F, 3, H, W), 0..255
        if self.rule == "clean":
            size = (299, 299)
            frames = F.interpolate(frames, size=size, mode="bicubic", antialias=True).clamp(0, 255)
        else:
            from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

            frames = interpolate_bilinear_2d_like_tensorflow1x(frames, size=(299, 299), align_corners=False)
        return self.trunk((frames - 128) / 128).flatten(1)
