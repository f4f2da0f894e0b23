"""A small network, trained on real clips only, that finds the sprites of the embedded data set (and those alone)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff import keyed
from vidiff.clip import clip_to_frames, uint8_to_unit, unit_to_signed

SIDE = 32  # frames are brought to this size first, so that the cost does not grow with the resolution
STRIDE = 2  # pixels of such a frame per cell of the heat map
SIGMA = 0.8  # of the wanted peaks, in cells
APART = 4  # cells: two sprites are never nearer (0.4 picture heights between centres, 6.4 cells)
SPRITES = 2  # most in a scene


class PositionRegressor(nn.Module):
    """A heat map over each frame: half resolution, a path at an eighth for the surroundings.

    Args:
        channels: of a frame.
        width: base channels.
    """

    def __init__(self, channels: int = 3, width: int = 16):
        super().__init__()
        self.fine = _block(channels, width, 5, 2)
        self.down = nn.Sequential(_block(width, 2 * width, 3, 2), _block(2 * width, 4 * width, 3, 2))
        self.coarse = nn.Sequential(_block(4 * width, 4 * width), _block(4 * width, 4 * width))
        self.up = nn.Sequential(_block(4 * width, 4 * width), nn.Conv2d(4 * width, 16 * width, 1), nn.PixelShuffle(4))
        self.head = nn.Sequential(_block(2 * width, width), nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, frames: Tensor) -> Tensor:
        """Frames (N, C, H, W) in [-1, 1], sides multiples of 8 -> logits of a heat map (N, H / 2, W / 2)."""
        fine = self.fine(frames)
        coarse = self.up(self.coarse(self.down(fine)))
        return self.head(torch.cat([fine, coarse], dim=1))[:, 0]

    @torch.no_grad()
    def locate(self, clips: Tensor, batch_size: int = 64) -> Tensor:
        """uint8 clips (B, C, T, H, W) -> positions (B, T, 2, 2) on the CPU, best first: x, y in pixels of the clip,
        where the centre of the top left pixel is (0, 0)."""
        device = self.fine[0].weight.device
        parts = [peaks(self(frames_of(part.to(device)))).cpu() for part in clips.split(batch_size)]
        scale = torch.tensor([clips.shape[-1], clips.shape[-2]]) / SIDE
        return (torch.cat(parts).reshape(len(clips), -1, SPRITES, 2) + 0.5) * scale - 0.5


def _block(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()
    )


def frames_of(clips: Tensor) -> Tensor:
    """uint8 clips (B, C, T, H, W) -> frames (B*T, C, SIDE, SIDE) in [-1, 1]."""
    frames = clip_to_frames(unit_to_signed(uint8_to_unit(clips)))
    if frames.shape[-2:] == (SIDE, SIDE):
        return frames
    return F.interpolate(frames, (SIDE, SIDE), mode="bilinear", antialias=True)


def peaks(logits: Tensor) -> Tensor:
    """The two highest peaks of heat maps (N, h, w) -> x, y (N, 2, 2) in pixels of a frame of SIDE."""
    n, h, w = logits.shape
    heat = logits.flatten(1).softmax(1)  # (N, h*w)
    y, x = torch.meshgrid(*(torch.arange(s, device=logits.device, dtype=heat.dtype) for s in (h, w)), indexing="ij")
    x, y = x.flatten(), y.flatten()
    found = []
    for _ in range(SPRITES):
        best = heat.argmax(1)
        near = ((x - x[best, None]).abs().maximum((y - y[best, None]).abs()) <= 2) * heat  # (N, h*w)
        mass = near.sum(1).clamp_min(1e-12)
        found.append(torch.stack([(near * x).sum(1) / mass, (near * y).sum(1) / mass], dim=1))
        heat = heat * ((x - x[best, None]).hypot(y - y[best, None]) > APART)
    return (torch.stack(found, dim=1) + 0.5) * STRIDE - 0.5


def wanted_heat(positions: Tensor, side: int) -> Tensor:
    """Positions (N, 2, 2) in pixels of a frame of SIDE, NaN for no second sprite -> heat maps (N, side*side), sum 1."""
    cells = (positions + 0.5) / STRIDE - 0.5
    axis = torch.arange(side, dtype=positions.dtype, device=positions.device)
    bumps = torch.exp(-0.5 * ((axis - cells[..., None]) / SIGMA) ** 2)  # (N, S, 2, side)
    bumps = torch.einsum("nsx,nsy->nsyx", bumps[:, :, 0], bumps[:, :, 1]).flatten(2)
    heat = torch.nan_to_num(bumps / bumps.sum(2, keepdim=True)).sum(1)
    return heat / heat.sum(1, keepdim=True)


def position_error(found: Tensor, truth: Tensor) -> Tensor:
    """Mean distance over frames and sprites in pixels (B, T, 2, 2), (B, T, 2, 2) -> (B,).

    With one sprite (NaN for the second) it is measured from the highest peak; with two, each from its own of the two
    highest, the assignment being the better one in each frame.
    """
    d = torch.cdist(found.double(), torch.nan_to_num(truth.double()))  # (B, T, found, true)
    both = torch.minimum(d[..., 0, 0] + d[..., 1, 1], d[..., 0, 1] + d[..., 1, 0]) / 2
    return torch.where(truth[..., 1, 0].isnan(), d[..., 0, 0], both).mean(1).to(found.dtype)


def train_regressor(
    clips: Tensor,
    positions: Tensor,
    seed: int = 0,
    steps: int = 200,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
) -> PositionRegressor:
    """A regressor that is a function of the arguments alone.

    Args:
        clips: real training clips uint8 (N, C, T, H, W) of all domains.
        positions: x, y in pixels (N, T, 2, 2), NaN for no second sprite.
        steps: Adam steps (one cycle, 4e-3 at its height) on `batch_size` frames.
    """
    # Also where the caller has switched gradients off, as Lightning does for `validate` and `test`.
    with torch.inference_mode(False), torch.enable_grad():
        return _train(clips, positions, seed, steps, batch_size, torch.device(device))


def _train(
    clips: Tensor, positions: Tensor, seed: int, steps: int, batch_size: int, device: torch.device
) -> PositionRegressor:
    with keyed.forked(seed, "position"):
        network = PositionRegressor(clips.shape[1]).to(device)
    scale = SIDE / torch.tensor([clips.shape[-1], clips.shape[-2]])
    positions = (positions.flatten(0, 1).float() + 0.5) * scale - 0.5  # (N*T, 2, 2)
    optimizer = torch.optim.Adam(network.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.2)
    length = clips.shape[2]
    for step in range(steps):
        picks = keyed.integers(range(batch_size), len(positions), seed, "position", step)
        chosen = clips[picks // length, :, picks % length].unsqueeze(2)  # (B, C, 1, H, W)
        frames, where = frames_of(chosen.to(device)), positions[picks].to(device)
        frames, where = _varied(frames, where, seed, step)
        logits = network(frames)
        loss = -(wanted_heat(where, logits.shape[-1]) * logits.flatten(1).log_softmax(1)).sum(1).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)


def _varied(frames: Tensor, where: Tensor, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Half of the frames mirrored, all with other contrast and colours: translations are not the same to the shade."""
    draw = keyed.normal([step], (len(frames), frames.shape[1], 3), seed, "position", "vary")[0].to(frames.device)
    gain, shift = 1.0 + 0.15 * draw[..., 0], 0.1 * draw[..., 1]  # (N, C)
    frames = frames * gain[..., None, None] + shift[..., None, None]
    mirror = draw[:, 0, 2] > 0
    frames = torch.where(mirror[:, None, None, None], frames.flip(3), frames)
    x = torch.where(mirror[:, None], SIDE - 1 - where[..., 0], where[..., 0])
    return frames, torch.stack([x, where[..., 1]], dim=-1)
