"""An invisible watermark: a network that hides bits in frames, one that reads them, and a judge that looks for them.

Both work on frames brought to one small square, whatever their size, so that a scaled copy is read like the original;
what is added is brought back to the frame's size. K bits s in {-1, 1} become, in luma and two color differences,

    R = sum_k s_k softplus(a - c s_k h_k) P_k + f(y, .)        y: the frame's square, h: what the reader says of it

which is improved spread spectrum (Malvar and Florencio 2003, IEEE Trans. Signal Processing 51, 898): patterns P_k, each
the stronger the less the picture says its bit already, with a learned correction f; more of it where there is texture.
R is scaled so that the frame's PSNR is a given number. The reader is the correlation of learned patterns with the
square's high frequencies over their local deviation, plus learned features. Before any training both are a classical
spread-spectrum watermark.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 64  # pixels of the square that frames are brought to
GRID = SIDE // 2  # of patterns: nothing finer is hidden
BAND = (2.0, 9.0)  # cycles a picture of the first patterns: below are scenes, above is what codecs throw away
LUMA = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]])
TEXTURE = 0.03  # mean |fine detail| from which on all may be hidden; a flat place takes FLAT of it
FLAT = 0.35
LEAST_DEVIATION = 0.01
GAIN = 3.0  # of the reader's first logits


def to_square(frames: Tensor) -> Tensor:
    """Frames (N, 3, H, W) in [0, 1] -> (N, 3, SIDE, SIDE)."""
    return F.interpolate(frames, (SIDE, SIDE), mode="bilinear", antialias=True)


def opponent(frames: Tensor) -> Tensor:
    """RGB (N, 3, H, W) -> luma and two color differences."""
    return torch.einsum("dc,nchw->ndhw", LUMA.to(frames), frames)


def blurred(x: Tensor, reach: int) -> Tensor:
    """The mean over squares of 2 reach + 1 pixels."""
    return F.avg_pool2d(F.pad(x, (reach,) * 4, "replicate"), 2 * reach + 1, 1)


def texture(frames: Tensor) -> Tensor:
    """How much of the residual a place takes, (N, 1, SIDE, SIDE) in [FLAT, 1]: more where there is fine detail."""
    luma = opponent(frames)[:, :1]
    detail = blurred(to_square((luma - blurred(luma, 2)).abs()), 2)
    return FLAT + (1 - FLAT) * (detail / TEXTURE).clamp(max=1)


def first_patterns(count: int, draw: torch.Generator) -> Tensor:
    """Orthogonal patterns of luma and color differences (count, 3, GRID, GRID), mean square 1, frequencies in BAND."""
    noise = torch.randn(count, 3, GRID, GRID, generator=draw)
    fy, fx = torch.fft.fftfreq(GRID) * GRID, torch.fft.rfftfreq(GRID) * GRID
    radius = (fy[:, None].square() + fx[None].square()).sqrt()
    kept = torch.fft.irfft2(torch.fft.rfft2(noise) * ((radius >= BAND[0]) & (radius <= BAND[1])), (GRID, GRID))
    return (kept[0].numel() ** 0.5 * torch.linalg.qr(kept.flatten(1).T).Q.T).reshape(kept.shape).contiguous()


class WatermarkReader(nn.Module):
    """Frames -> a logit of every bit, above 0 for a 1.

    Args:
        bits: K.
        width: channels of the learned features.
        seed: of the first patterns.
    """

    def __init__(self, bits: int = 32, width: int = 16, seed: int = 0):
        super().__init__()
        self.patterns = nn.Parameter(first_patterns(bits, torch.Generator().manual_seed(seed)))
        self.gain = nn.Parameter(torch.tensor(math.log(GAIN)))
        self.see = nn.Sequential(
            nn.Conv2d(6, width, 4, 2, 1), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1), nn.SiLU(),
            nn.Conv2d(width, 3, 3, 1, 1),
        )  # fmt: skip
        nn.init.zeros_(self.see[-1].weight), nn.init.zeros_(self.see[-1].bias)

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1] -> logits (N, K)."""
        y = opponent(to_square(frames))
        fine = y - blurred(y, 5)
        fine = fine / (blurred(fine.square(), 3) + LEAST_DEVIATION**2).sqrt()  # a root of 0 has no gradient
        seen = F.avg_pool2d(fine, 2) + self.see(torch.cat([fine, 4 * (y - 0.5)], 1))  # (N, 3, GRID, GRID)
        return self.gain.exp() * torch.einsum("nchw,kchw->nk", seen, self.patterns) / seen[0].numel() ** 0.5


class WatermarkWriter(nn.Module):
    """Frames and bits -> the residual that hides them.

    Args:
        bits, width, seed: see `WatermarkReader`; with the same seed both begin with the same patterns.
        informed: the first weight c of what the picture says already; 0 is plain spread spectrum.
    """

    def __init__(self, bits: int = 32, width: int = 16, seed: int = 0, informed: float = 0.5):
        super().__init__()
        self.patterns = nn.Parameter(first_patterns(bits, torch.Generator().manual_seed(seed)))
        self.margin = nn.Parameter(torch.tensor([1.0, informed]))
        self.correct = nn.Sequential(
            nn.Conv2d(10, width, 3, 1, 1), nn.SiLU(), nn.Conv2d(width, width, 3, 1, 1), nn.SiLU(),
            nn.Conv2d(width, 3, 3, 1, 1),
        )  # fmt: skip
        nn.init.zeros_(self.correct[-1].weight), nn.init.zeros_(self.correct[-1].bias)
        self.register_buffer("to_rgb", torch.linalg.inv(LUMA), persistent=False)

    def forward(self, frames: Tensor, bits: Tensor, said: Tensor, psnr: float) -> Tensor:
        """The frames with the bits in them.

        Args:
            frames: (N, 3, H, W) in [0, 1].
            bits: (N, K), -1 or 1.
            said: what the reader says of the frames, (N, K).
            psnr: of what comes out against what went in, dB, but for values that leave [0, 1].
        """
        strength = bits * F.softplus(self.margin[0] - self.margin[1] * bits * said)
        rough = torch.einsum("nk,kchw->nchw", strength, self.patterns)
        rough = rough / rough.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)
        places, y = texture(frames), opponent(to_square(frames))
        seen = torch.cat([rough, *(F.avg_pool2d(x, 2) for x in (4 * (y - 0.5), 10 * (y - blurred(y, 3)), places))], 1)
        square = F.interpolate(rough + self.correct(seen), (SIDE, SIDE), mode="bicubic") * places
        residual = torch.einsum("dc,nchw->ndhw", self.to_rgb.to(frames), square)
        residual = F.interpolate(residual, frames.shape[2:], mode="bicubic", antialias=True)
        power = residual.square().mean((1, 2, 3), keepdim=True)
        return (frames + residual * (10 ** (-psnr / 10) / power.clamp_min(1e-12)).sqrt()).clamp(0, 1)


class Watermark(nn.Module):
    """A writer and a reader of one watermark.

    Args:
        bits, width, seed, informed: see `WatermarkReader` and `WatermarkWriter`.
    """

    def __init__(self, bits: int = 32, width: int = 16, seed: int = 0, informed: float = 0.5):
        super().__init__()
        self.bits = bits
        self.writer, self.reader = WatermarkWriter(bits, width, seed, informed), WatermarkReader(bits, width, seed)

    def forward(self, frames: Tensor, bits: Tensor, psnr: float) -> Tensor:
        """Frames (N, 3, H, W) in [0, 1] with bits (N, K) of -1 and 1 in them, at this PSNR in dB."""
        with torch.no_grad():
            said = self.reader(frames)
        return self.writer(frames, bits, said, psnr)


class WatermarkJudge(nn.Module):
    """Tells marked frames from others, patch by patch, by the frames and by what changed since the one before.

    Args:
        width: channels at half resolution.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(6, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, 2 * width, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 2 * width, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(2 * width, 1, 3, 1, 1),
        )  # fmt: skip

    def forward(self, clips: Tensor) -> Tensor:
        """Clips (B, 3, T, H, W) in [0, 1] -> logits (B,), higher for unmarked ones."""
        b, c, t, h, w = clips.shape
        fine = 8 * (clips - F.avg_pool3d(clips, (1, 5, 5), 1, (0, 2, 2), count_include_pad=False))
        change = 8 * torch.cat([torch.zeros_like(clips[:, :, :1]), clips.diff(dim=2)], 2)
        x = torch.cat([fine, change], 1).transpose(1, 2).reshape(b * t, 2 * c, h, w)
        return self.net(x).reshape(b, -1).mean(1)
