"""Networks that turn clips into features without any download: the interface, `fvd_random` and `fd_lite0`."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import clip_to_frames, frames_to_clip
from vidiff.errors import UsageError
from vidiff.pretrained.lite0 import lite0_network
from vidiff.pretrained.r3d import r3d_network
from vidiff.pretrained.weights import MANIFEST, file_sha256


def check_clips(clips: Tensor, min_size: int = 1) -> Tensor:
    """Return clips as uint8 (B, 3, T, H, W), grey repeated to three channels; anything else is refused.

    Raises:
        ValueError: dtype, number of dimensions, channels or size are wrong; the message names what was given.
    """
    got = f"{clips.dtype} {tuple(clips.shape)}"
    if clips.dtype != torch.uint8:
        raise ValueError(f"metrics take uint8 clips (B, C, T, H, W) with values 0..255, got {got}")
    if clips.ndim != 5 or clips.shape[1] not in (1, 3):
        raise ValueError(f"metrics take clips (B, C, T, H, W) with C = 1 or 3, got {got}")
    if min(clips.shape[2:]) < 1 or min(clips.shape[3:]) < min_size:
        raise ValueError(f"this metric needs T >= 1 and H, W >= {min_size}, got {got}")
    return clips if clips.shape[1] == 3 else clips.expand(-1, 3, -1, -1, -1)


def evenly_spaced(num_frames: int, count: int) -> list[int]:
    """`count` (at most `num_frames`) frame indices, the middles of equal parts of 0..num_frames-1."""
    count = min(count, num_frames)
    return [int((k + 0.5) * num_frames / count) for k in range(count)]


@contextmanager
def exact(device: torch.device):
    """No gradients, no autocast, no TF32 and no autotuning: features must not depend on a run's speed settings."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        settings = ((cudnn, "benchmark", False), (cudnn, "deterministic", True))
        # Per back end: torch refuses to read the older global switch after a user has set the newer ones.
        settings += ((matmul, "fp32_precision", "ieee"), (cudnn.conv, "fp32_precision", "ieee"))
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in settings]
        try:
            for owner, name, value in settings:
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in before:
                setattr(owner, name, value)


class Extractor(nn.Module):
    """A frozen map from clips to features; the preprocessing belongs to it, never to the caller.

    Attributes:
        name: goes into every protocol. dim: features D. sha256: of the weights (or of what defines the features).
        official: whether published numbers were made with exactly this. kind: "clips" (one row a clip) or "frames"
        (`frames_per_clip` rows a clip, adjacent). resize: the resize rule in words. min_size: smallest height, width.
        min_frames: shortest clip.

    `forward(clips)`: uint8 (B, C, T, H, W), C = 1 or 3 -> float32 (B, dim), or (B*F, dim) for frames. A subclass
    defines `features(clips)` for checked uint8 (B, 3, T, H, W).
    """

    name: str
    dim: int
    sha256: str
    official = False
    trust = "defined in code"
    kind = "clips"
    resize = "native size"
    frames_per_clip: int | None = None
    min_size = 1
    min_frames = 1

    def forward(self, clips: Tensor) -> Tensor:
        clips = check_clips(clips, self.min_size)
        with exact(clips.device):
            out = self.features(clips).float()
        if out.ndim != 2 or out.shape[1] != self.dim:
            raise ValueError(f"{self.name}: expected features (N, {self.dim}), got {tuple(out.shape)}")
        return out

    def features(self, clips: Tensor) -> Tensor:
        raise NotImplementedError

    @property
    def widest(self) -> int:
        """Features of its largest covariance: with fewer samples, bias dominates a Fréchet distance."""
        return self.dim

    def train(self, mode: bool = True):
        """Always in evaluation mode: a feature must not depend on the rest of its batch."""
        return super().train(False)

    def pick_frames(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) -> the evenly spaced frames of each (B*F, 3, H, W)."""
        return clip_to_frames(clips[:, :, evenly_spaced(clips.shape[2], self.frames_per_clip)])

    def fingerprint(self) -> list[float]:
        """The eight leading features of each of two fixed noise clips, which differ between builds of one network."""
        noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (2, 3, 16, 64, 64), dtype=np.uint8)
        device = next((p.device for p in [*self.parameters(), *self.buffers()]), torch.device("cpu"))
        out = self(torch.from_numpy(noise).to(device)).reshape(2, -1, self.dim)[:, 0, :8]
        return [float(f"{v:.6g}") for v in out.flatten().tolist()]


class RandomConv3d(Extractor):
    """`fvd_random`: means and standard deviations of three fixed random 3-D convolution layers, D = 112.

    Conv3d 3 -> 8 -> 16 -> 32, kernel 3, replicate padding 1, strides (1,2,2), (2,2,2), (2,2,2), LeakyReLU 0.2, no
    bias; weights N(0, 2/(27 in)) drawn layer by layer from PCG64(seed); input (x/255 - 0.5)/0.25 at native size; the
    features are the per-channel mean and (population) standard deviation over (T, H, W) of every layer. It sees time
    and never needs a download, but knows nothing of the world: no quality claim rests on it alone.

    Args:
        seed: of the weights; 0 is `fvd_random`.
    """

    dim = 112
    min_size = 16

    def __init__(self, seed: int = 0):
        super().__init__()
        self.name = "rand3d" if seed == 0 else f"rand3d_s{seed}"
        rng = np.random.Generator(np.random.PCG64(seed))
        digest = hashlib.sha256(b"rand3d v1: replicate 1, leaky 0.2, (x/255-.5)/.25, mean + population std")
        self.strides = ((1, 2, 2), (2, 2, 2), (2, 2, 2))
        for i, (fan_in, fan_out) in enumerate(((3, 8), (8, 16), (16, 32))):
            weight = rng.standard_normal((fan_out, fan_in, 3, 3, 3)) * math.sqrt(2 / (27 * fan_in))
            weight = weight.astype(np.float32)
            digest.update(weight.tobytes())
            self.register_buffer(f"weight{i}", torch.from_numpy(weight))
        self.sha256 = digest.hexdigest()
        self.eval()

    def features(self, clips: Tensor) -> Tensor:
        x = (clips.float() / 255 - 0.5) / 0.25
        out = []
        for i, stride in enumerate(self.strides):
            x = F.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate")
            x = F.leaky_relu(F.conv3d(x, getattr(self, f"weight{i}"), stride=stride), 0.2)
            out += [x.mean((2, 3, 4)), x.std((2, 3, 4), correction=0)]  # (B, C_i) each
        return torch.cat(out, 1)


class Lite0(Extractor):
    """`fd_lite0`: EfficientNet-Lite0 (ImageNet) features of four evenly spaced frames of a clip, projected to D = 128.

    Tan and Le 2019 (arXiv 1905.11946). Input (x/255 - 0.5)/0.5, resized to 112 x 112 (bilinear, antialias); the 1280
    pooled features are multiplied with a fixed orthonormal 1280 x 128 matrix (QR of PCG64(0) normals), so that 256
    clips are enough for a covariance. It sees single frames, no motion.
    """

    name = "lite0_112_p128"
    dim = 128
    sha256 = MANIFEST["lite0"].sha256
    trust = "manifest"
    kind = "frames"
    resize = "112x112 bilinear antialias"
    frames_per_clip = 4

    def __init__(self):
        super().__init__()
        self.net = lite0_network()
        normals = np.random.Generator(np.random.PCG64(0)).standard_normal((1280, self.dim))
        self.register_buffer("projection", torch.from_numpy(np.linalg.qr(normals)[0].astype(np.float32)))
        self.eval()

    def features(self, clips: Tensor) -> Tensor:
        frames = self.pick_frames(clips).float()  # (B*F, 3, H, W)
        frames = F.interpolate(frames, size=(112, 112), mode="bilinear", antialias=True)
        pooled = self.net.forward_head(self.net.forward_features((frames / 255 - 0.5) / 0.5), pre_logits=True)
        return pooled @ self.projection  # (B*F, 1280) -> (B*F, 128)


class R3D18(Extractor):
    """`fd_r3d18`: features of whole clips by torchvision's R3D-18 (Kinetics-400), projected to D = 128 as Lite0's.

    Tran et al. 2018 (arXiv 1711.11248). It was trained to name what people do from pictures and their motion together.
    Resized to 112 x 112 (bilinear, antialias; torchvision's own rule cuts a square out of 128 x 171).

    Args:
        weights: file or folder that is searched first.

    Raises:
        UsageError: the weights are missing or others.
    """

    name = "r3d18_112_p128"
    dim = 128
    sha256 = MANIFEST["r3d18"].sha256
    trust = "manifest"
    resize = "112x112 bilinear antialias"
    MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)

    def __init__(self, weights: str | Path | None = None):
        super().__init__()
        self.net = r3d_network("fd_r3d18", weights)
        normals = np.random.Generator(np.random.PCG64(0)).standard_normal((512, self.dim))
        self.register_buffer("projection", torch.from_numpy(np.linalg.qr(normals)[0].astype(np.float32)))
        for name, values in (("mean", self.MEAN), ("std", self.STD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None, None], persistent=False)
        self.eval()

    def features(self, clips: Tensor) -> Tensor:
        frames = clips.float().transpose(1, 2).flatten(0, 1)  # (B*T, 3, H, W)
        frames = F.interpolate(frames, size=(112, 112), mode="bilinear", antialias=True)
        resized = frames.unflatten(0, (len(clips), -1)).transpose(1, 2)  # (B, 3, T, 112, 112)
        return self.net((resized / 255 - self.mean) / self.std) @ self.projection  # (B, 512) -> (B, 128)


RANGES = {"unit": (0.0, 1.0), "signed": (-1.0, 1.0), "bytes": (0.0, 255.0)}


class TorchScript(Extractor):
    """Features of anybody's TorchScript file, see `load`."""

    trust = "a file of the user's"

    def __init__(self, path: str | Path, values: str, size: int | None, frames: int | None):
        super().__init__()
        if values not in RANGES:
            raise UsageError(f"the values that {path} takes must be one of {', '.join(RANGES)}, got {values!r}")
        if not Path(path).is_file():
            raise UsageError(f"{path}: no such file")
        self.sha256 = file_sha256(Path(path))
        try:
            self.net = torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise UsageError(f"{path}: no TorchScript module: {str(error).splitlines()[0]}") from error
        self.low, self.high = RANGES[values]
        self.size, self.frames_per_clip, self.kind = size, frames, "frames" if frames else "clips"
        self.name = f"{Path(path).stem}_{self.sha256[:8]}_{values}"
        self.resize = f"{size}x{size} bilinear antialias" if size else "native size"
        self.dim = self._checked(path)

    def features(self, clips: Tensor) -> Tensor:
        b, _, t, h, w = clips.shape
        x = self.pick_frames(clips) if self.frames_per_clip else clip_to_frames(clips)  # (N, 3, H, W)
        x = self.low + (self.high - self.low) / 255 * x.float()
        if self.size and (h, w) != (self.size, self.size):
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True)
        return self.net(x if self.frames_per_clip else frames_to_clip(x, t))

    def _checked(self, path: str | Path) -> int:
        """The number of features; refused where the file gives no finite row a clip that is a function of that clip."""
        noise = np.random.Generator(np.random.PCG64(0)).integers(0, 256, (3, 3, 16, 64, 64), dtype=np.uint8)
        clips, what = (
            torch.from_numpy(noise),
            "clips (B, 3, T, H, W)" if self.kind == "clips" else "frames (N, 3, H, W)",
        )
        try:
            with exact(clips.device):
                out, alone = self.features(clips), self.features(clips[:1])
        except (RuntimeError, TypeError) as error:
            last = str(error).strip().splitlines()[-1]
            raise UsageError(f"{path} does not take float {what} in [{self.low:g}, {self.high:g}]: {last}") from error
        rows = 3 * (self.frames_per_clip or 1)
        if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != rows:
            got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise UsageError(f"{path} gives {got} for {rows} {self.kind}; features are ({rows}, D)")
        if not torch.isfinite(out).all():
            raise UsageError(f"{path} gives features of noise that are not finite")
        out, alone = out.float(), alone.float()
        if not torch.allclose(out[: len(alone)], alone, rtol=1e-3, atol=1e-4 * float(out.abs().max())):
            raise UsageError(f"{path}: the features of a clip depend on the rest of its batch")
        if torch.allclose(out[0], out[-1], rtol=1e-6):
            raise UsageError(f"{path} gives the same features for different clips")
        return out.shape[1]


def load(
    path: str | Path,
    values: str = "signed",
    size: int | None = None,
    frames: int | None = None,
    fingerprint: Sequence[float] | None = None,
) -> TorchScript:
    """Features of any TorchScript file, for an `Evaluator` or as `fd@PATH` and `kd@PATH` in `vidiff evaluate`.

    TorchScript is code: load files that you trust. How a network is fed cannot be read from its file, so that it is
    said here and checked as far as that goes; the sha256 of the file is part of every protocol.

    Args:
        path: a file of `torch.jit.save`.
        values: what the network takes for black to white: `signed` [-1, 1], `unit` [0, 1] or `bytes` [0, 255].
        size: height and width that frames are brought to first; None: as they are.
        frames: None: the network takes clips (B, 3, T, H, W). A number: it takes frames (N, 3, H, W), and so many
            evenly spaced ones of each clip are given to it.
        fingerprint: what `fingerprint()` of the same network gave elsewhere; another one, beyond 1e-3, is refused.

    Raises:
        UsageError: no TorchScript, or what it gives are no features.
    """
    network = TorchScript(path, values, size, frames)
    if fingerprint is not None:
        found = np.array(network.fingerprint())
        if found.shape != np.shape(fingerprint) or not np.allclose(found, fingerprint, rtol=1e-3, atol=1e-3):
            raise UsageError(f"{path} has another fingerprint: {found.tolist()}, {list(fingerprint)} is expected")
    return network
