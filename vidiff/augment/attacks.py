"""What happens to a video on its way to people, differentiable: what a watermark has to outlive.

H.264 itself is among it: clips go through real files, and gradients pass as if it were the identity (straight-through,
Bengio et al. 2013, 1308.3432). Beside it a JPEG of blocks of 8 x 8 stands for what can be differentiated.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import kornia
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from vidiff.clip import thwc_to_clip
from vidiff.video.pyav import PyAVReader
from vidiff.video.write import write_mp4


def uniform(draw: Generator, low: float, high: float) -> float:
    """A number between two."""
    return low + (high - low) * float(torch.rand((), generator=draw))


def recoded(clip: Tensor, crf: int, path: Path) -> Tensor:
    """A clip uint8 (3, T, H, W) as it comes back from an H.264 mp4 of this quality, which is written to `path`."""
    write_mp4(path, clip, crf=crf)
    frames = PyAVReader(path).read(range(clip.shape[1]))
    return thwc_to_clip(frames[:, : clip.shape[2], : clip.shape[3]])


def through_h264(clips: Tensor, crf: int) -> Tensor:
    """Clips (B, 3, T, H, W) in [0, 1] as H.264 leaves them; the gradient is that of the identity."""
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        whole = (255 * clips).round().clamp(0, 255).byte()
        there = torch.stack([recoded(clip, crf, Path(folder) / "clip.mp4") for clip in whole]) / 255
    return clips + (there - clips).detach()


def per_frame(change: Callable[[Tensor], Tensor], clips: Tensor) -> Tensor:
    """A change of frames (N, 3, H, W) for clips (B, 3, T, H, W)."""
    b, c, t, h, w = clips.shape
    out = change(clips.transpose(1, 2).reshape(b * t, c, h, w))
    return out.reshape(b, t, c, *out.shape[2:]).transpose(1, 2)


def scaled(clips: Tensor, factor: float) -> Tensor:
    """Clips of another size, even on both sides."""
    size = [max(8, round(side * factor / 2) * 2) for side in clips.shape[3:]]
    return per_frame(lambda x: F.interpolate(x, size, mode="bilinear", antialias=True), clips)


def jpeg(clips: Tensor, draw: Generator) -> Tensor:
    """Every frame as a JPEG of quality 30 to 90: the quantized cosine transform, with a gradient (kornia)."""
    quality = clips.new_tensor([uniform(draw, 30, 90)])
    return per_frame(lambda x: kornia.enhance.jpeg_codec_differentiable(x, quality), clips)


def cropped(clips: Tensor, share: float, draw: Generator) -> Tensor:
    """A window of this share of both sides, anywhere."""
    h, w = clips.shape[3:]
    height, width = round(h * share), round(w * share)
    top = int(torch.randint(h - height + 1, (), generator=draw))
    left = int(torch.randint(w - width + 1, (), generator=draw))
    return clips[..., top : top + height, left : left + width]


def recolored(clips: Tensor, draw: Generator) -> Tensor:
    """Other brightness, contrast and saturation."""
    clips = (clips - 0.5) * uniform(draw, 0.7, 1.3) + 0.5 + uniform(draw, -0.1, 0.1)
    grey = clips.mean(1, keepdim=True)
    return (grey + (clips - grey) * uniform(draw, 0.3, 1.4)).clamp(0, 1)


def noisy(clips: Tensor, draw: Generator) -> Tensor:
    """Gaussian noise of up to 10 of 255."""
    noise = torch.randn(clips.shape, generator=draw).to(clips)
    return (clips + uniform(draw, 0, 10 / 255) * noise).clamp(0, 1)


def blurry(clips: Tensor, draw: Generator) -> Tensor:
    """A Gaussian blur of up to a fiftieth of the height."""
    sigma = uniform(draw, 0.3, max(0.4, clips.shape[3] / 50))
    return per_frame(lambda x: kornia.filters.gaussian_blur2d(x, (9, 9), (sigma, sigma)), clips)


ATTACKS: dict[str, tuple[float, Callable[[Tensor, Generator], Tensor]]] = {  # name -> (how often, what)
    "h264": (0.35, lambda x, draw: through_h264(x, 18 + int(torch.randint(11, (), generator=draw)))),
    "half": (0.15, lambda x, draw: through_h264(scaled(x, 0.5), 23)),
    "scaled": (0.1, lambda x, draw: scaled(x, uniform(draw, 0.4, 1.5))),
    "jpeg": (0.1, jpeg),
    "crop": (0.1, lambda x, draw: cropped(x, uniform(draw, 0.92, 1.0), draw)),
    "color": (0.06, recolored),
    "noise": (0.06, noisy),
    "blur": (0.06, blurry),
    "nothing": (0.02, lambda x, draw: x),
}


def attacked(clips: Tensor, draw: Generator) -> Tensor:
    """Clips (B, 3, T, H, W) in [0, 1] after one of ATTACKS, the same for the batch; they may be of another size."""
    shares = torch.tensor([share for share, _ in ATTACKS.values()])
    name = list(ATTACKS)[int(torch.multinomial(shares, 1, generator=draw))]
    return ATTACKS[name][1](clips, draw)
