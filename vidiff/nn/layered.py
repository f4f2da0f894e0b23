"""Scenes of layers: a background and a few objects, each drawn once a clip and moved by a path that is smooth in time.

Objects that are drawn apart, placed and put together are BlockGAN's (Nguyen-Phuoc et al. 2020, 2002.08988) and RELATE's
(Ehrhardt et al. 2020, 2007.01272), where features are placed; a mask in front of a background is VideoGAN's (Vondrick
et al. 2016, 1609.02612). Here pictures with a mask are placed, turned and scaled by bilinear sampling (Jaderberg et al.
2015, 1506.02025), whose backward is not deterministic on CUDA.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.anytime import MotionCode, Painter, act, even_times, latent_code, layers
from vidiff.nn.blocks import ClassEmbedding, check_frames
from vidiff.nn.r3 import he_init, linear_init


def smooth(picture: Tensor) -> Tensor:
    """A binomial 3x3 filter of pictures (B, C, h, w): what is placed smaller than it was drawn must not alias."""
    c = picture.shape[1]
    row = picture.new_tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row).expand(c, 1, 3, 3)
    return F.conv2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), kernel, groups=c)


class _Path(nn.Module):
    """Where a layer is: its code and a time -> x, y and size, and an angle that grows evenly."""

    def __init__(self, dim: int, waves: int, num_frames: int, hidden: int = 64):
        super().__init__()
        self.motion = MotionCode(dim, waves, num_frames)
        self.place = nn.Sequential(
            he_init(nn.Linear(dim + 2 * waves, hidden)), nn.SiLU(), linear_init(nn.Linear(hidden, 3))
        )
        self.turn = linear_init(nn.Linear(dim, 2))

    def forward(self, code: Tensor, times: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """code (N, D), times (N, T) -> positions (N, T, 2) about [-1, 1], log of the size and angles (N, T)."""
        motion = self.motion(code, times)
        inputs = torch.cat([code[:, None].expand(-1, motion.shape[1], -1), motion], dim=2)
        place = self.place(inputs)
        angle, speed = self.turn(code)[:, None].chunk(2, dim=2)  # (N, 1, 1)
        return place[..., :2], place[..., 2], (3.0 * angle + 0.1 * speed * times[..., None])[..., 0]


class LayeredGenerator(nn.Module):
    """z -> a background and `objects` pictures with masks; at each time they are placed one over the other.

    All objects share one network, so a shape is learnt once. A background is drawn wider than the clip and drifts.

    Args:
        spec: sizes; `width` is the number of channels at half of a picture's resolution.
        objects: pictures in front of the background.
        dim: length of the codes.
        waves: of an object's path, see `MotionCode`.
        detail: how strong the background's detail is over its coarse colors; where it may draw anything, it draws the
            objects too, and they stand still.
    """

    flat_only = True  # see `vidiff.nn.circular`
    reach = 1.25  # half the width of the drawn background, in half pictures

    def __init__(self, spec: ClipSpec, objects: int = 2, dim: int = 128, waves: int = 8, detail: float = 0.2):
        super().__init__()
        check_frames(spec.num_frames)
        if objects < 1:
            raise ValueError(f"objects must be at least 1, got {objects}")
        self.spec, self.objects, self.detail = spec, objects, detail
        self.embed = ClassEmbedding(spec.num_classes, spec.latent_dim) if spec.num_classes else None
        self.scene = layers(spec.latent_dim * (2 if self.embed else 1), dim)
        self.apart = he_init(nn.Linear(dim, (objects + 1) * dim))
        side = max(spec.resolution // 2, 8)
        self.object = Painter(2 * spec.width, dim, spec.channels + 1, side)
        self.background = Painter(spec.width // 2, dim, 2 * spec.channels, spec.resolution)
        self.path = _Path(dim, waves, spec.num_frames)
        self.drift = linear_init(nn.Linear(dim, 2))
        axis = (torch.arange(side) + 0.5) * 2 / side - 1
        radius = (axis[:, None] ** 2 + axis**2).sqrt()
        self.register_buffer("window", ((1.0 - radius) * side / 4).clamp(0.0, 1.0))  # an object ends before its picture
        self.register_buffer("hill", 2.0 - 3.0 * radius**2)  # and begins small, its mask far from saturated

    def forward(self, z: Tensor, label: Tensor | None = None, times: Tensor | None = None) -> Tensor:
        """Frames of clips.

        Args:
            z: (B, Z).
            label: (B,) or None.
            times: (B, T) in frames, any real numbers; None: 0 .. num_frames - 1.

        Returns:
            (B, C, T, H, W) in [-1, 1].
        """
        if times is None:
            times = even_times(self.spec.num_frames, self.spec.num_frames, z)
        times = times.to(z.dtype)
        scene = self.scene(latent_code(z, self.embed, label))
        ground, *codes = act(self.apart(scene)).chunk(self.objects + 1, dim=1)  # each (B, D)
        frames = self._ground(ground, times)
        b, t = times.shape
        codes = torch.stack(codes, 1).flatten(0, 1)  # (B, N, D) -> (B N, D)
        picture = smooth(self.object(codes[:, None], codes[:, None])[:, :, 0])  # (B N, C + 1, h, w)
        mask = torch.sigmoid(picture[:, -1:] + self.hill) * self.window
        picture = torch.cat([torch.tanh(picture[:, :-1]) * mask, mask], dim=1)
        placed = self._placed(picture, *self.path(codes, times.repeat_interleave(self.objects, 0)))
        placed = placed.unflatten(0, (b, self.objects, t))  # (B N T, C + 1, H, W) -> (B, N, T, C + 1, H, W)
        for i in range(self.objects):
            frames = frames * (1.0 - placed[:, i, :, -1:]) + placed[:, i, :, :-1]
        return frames.transpose(1, 2)

    def _grid(self, count: int, like: Tensor) -> Tensor:
        """The pixels' places in the picture, [-1, 1], (count, H, W, 2)."""
        unit = torch.eye(2, 3, device=like.device, dtype=like.dtype).expand(count, -1, -1)
        return F.affine_grid(unit, [count, 1, self.spec.resolution, self.spec.resolution], align_corners=False)

    def _ground(self, code: Tensor, times: Tensor) -> Tensor:
        """Background (B, T, C, H, W): drawn once, moved evenly around its middle."""
        b, t = times.shape
        coarse, fine = self.background(code[:, None], code[:, None])[:, :, 0].chunk(2, dim=1)  # each (B, C, h, w)
        coarse = F.interpolate(F.adaptive_avg_pool2d(coarse, 2), coarse.shape[2:], mode="bilinear", align_corners=True)
        picture = torch.tanh(coarse + self.detail * torch.tanh(fine))
        middle = (self.spec.num_frames - 1) / 2
        shift = torch.tanh(0.05 * self.drift(code)[:, None] * (times[..., None] - middle)) * (self.reach - 1.0)
        grid = (self._grid(b * t, code) + shift.flatten(0, 1)[:, None, None]) / self.reach  # (B T, H, W, 2)
        picture = picture[:, None].expand(-1, t, -1, -1, -1).flatten(0, 1)
        return F.grid_sample(picture, grid, padding_mode="border", align_corners=False).unflatten(0, (b, t))

    def _placed(self, picture: Tensor, position: Tensor, size: Tensor, angle: Tensor) -> Tensor:
        """Pictures (N, C, h, w) at positions (N, T, 2), log sizes and angles (N, T) -> (N T, C, H, W)."""
        n, t = size.shape
        half = 0.4 * torch.exp(0.6 * torch.tanh(size)).flatten()[:, None, None, None]  # of a placed picture's side
        grid = (self._grid(n * t, picture) - 0.7 * position.flatten(0, 1)[:, None, None]) / half
        cos, sin = angle.cos().flatten()[:, None, None], angle.sin().flatten()[:, None, None]
        grid = torch.stack([cos * grid[..., 0] + sin * grid[..., 1], cos * grid[..., 1] - sin * grid[..., 0]], dim=-1)
        picture = picture[:, None].expand(-1, t, -1, -1, -1).flatten(0, 1)
        return F.grid_sample(picture, grid, align_corners=False)
