"""An autoencoder of layers: a clip becomes a background, a few objects, and the way each of them goes; and back.

Objects are found one after the other by attention and drawn by one network as pictures with masks, as in AIR (Eslami et
al. 2016, 1603.08575) and its followers; where they are is the mean of a heat map (keypoints of Jakab et al. 2018,
1806.07823, and of Minderer et al. 2019, 1906.07889) around the best way through all frames; what is the same in all
frames is said once. No label is needed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.clip import ClipSpec
from vidiff.nn.autoencoder import unit
from vidiff.nn.blocks import check_frames
from vidiff.nn.flow_unet import zeroed

GRID = 8  # sides of the background's latents
GROUND = 3  # channels of these
EACH = 6  # numbers of an object in a frame: x, y, width, height, cosine and sine of how it is turned
LOOKS = 2  # tokens that say what an object looks like
FAR = 20.0  # where a picture ends: the larger, the earlier a flow learns paths
GLIMPSE = 12  # samples on each side of what is looked at around an object
NEAR = 0.45  # half the side of that, in half pictures
TAKEN = 0.25  # how far around an object the next one is not looked for, in half pictures
AROUND = 0.35  # how far around the way that is followed an object's middle is looked for, in half pictures
JUMP = 10.0  # what a way loses, in logits, where it goes half a picture from frame to frame; four times for twice
THERE = 0.5  # of a mask's highest value: an object below it counts as not drawn
SALIENT = 3.0  # how much a new network trusts that what is unlike the usual color is an object


def _conv(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, (kernel - 1) // 2)


class _FrameFeatures(nn.Module):
    """Frames (N, C, H, W) -> features (N, width, H / 2, W / 2) that see about sixteen pixels around."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        w = width
        self.fine = nn.Sequential(nn.PixelUnshuffle(2), _conv(4 * channels, w), nn.SiLU(), _conv(w, w))
        self.coarse = nn.Sequential(nn.SiLU(), _conv(w, w, 3, 2), nn.SiLU(), _conv(w, w))
        self.merge, self.last = _conv(2 * w, w, 1), nn.Sequential(nn.SiLU(), _conv(w, w))

    def forward(self, frames: Tensor) -> Tensor:
        fine = self.fine(frames)
        coarse = F.interpolate(self.coarse(fine), fine.shape[2:])
        h = self.merge(torch.cat([fine, coarse], 1))
        return h + self.last(h)


def _around(x: Tensor, y: Tensor, half: float, side: int) -> Tensor:
    """Sampling grids (N, side, side, 2) of squares around (x, y) (N,), `half` a side to each side."""
    scale, none = torch.full_like(x, half), torch.zeros_like(x)
    rows = torch.stack([torch.stack([scale, none, x], 1), torch.stack([none, scale, y], 1)], 1)
    return F.affine_grid(rows, [len(x), 1, side, side], align_corners=False)


def kept(frames: int) -> int:
    """Waves of so many frames that are kept: of more than eight frames none that is shorter than four."""
    return max(min(frames, 8), frames // 2)


def waves(count: int) -> Tensor:
    """Cosines (count, count): a row a wave of k half periods, orthonormal but for the factor 1 / sqrt(count); a path of
    the size 1 becomes numbers of about that size, however many frames it has."""
    k, t = torch.arange(count)[:, None], torch.arange(count) + 0.5
    rows = torch.cos(math.pi * k * t / count) * math.sqrt(2.0)
    rows[0] = 1.0
    return rows / count


@torch.no_grad()
def followed(heat: Tensor) -> Tensor:
    """The way through logits (B, T, h, w) that is worth most, where going far costs (Viterbi): x, y (B, T, 2) in
    [-1, 1], on a grid of at most 16 sides."""
    side = min(16, *heat.shape[2:])
    worth = F.adaptive_max_pool2d(heat, side).unbind(1)  # T of (B, n, n)
    axis = (torch.arange(side, device=heat.device).to(heat) + 0.5) * 2 / side - 1
    cost = JUMP * (axis[:, None] - axis).square()  # (n to, n from), of one of both axes
    best, came = worth[0], []
    for now in worth[1:]:
        best, from_x = (best[:, :, None] - cost).max(3)  # (B, y, x to)
        best, from_y = (best[:, None] - cost[:, :, None]).max(2)  # (B, y to, x to)
        best = best + now
        came.append((from_y.flatten(1), from_x.flatten(1)))
    at = [best.flatten(1).argmax(1, keepdim=True)]
    for from_y, from_x in reversed(came):
        at.append(from_y.gather(1, at[-1]) * side + at[-1] % side)  # the row it came from, the same column
        at[-1] = at[-1] - at[-1] % side + from_x.gather(1, at[-1])
    way = torch.cat(at[::-1], 1)  # (B, T)
    return torch.stack([axis[way % side], axis[way // side]], 2)


class LayeredAutoencoder(nn.Module):
    """Clip -> tokens (B, 6 N, K + 2 N + 32 / N, 1, 1) of N objects -> clip.

    What objects do is six numbers a frame: x, y (the picture is [-20, 20]), width, height, cosine and sine of each;
    taken apart into K waves of ever shorter period (a discrete cosine transform), where short ones count more: errors
    of what is made in these latents are smooth in time, as paths are. Of more than eight frames only waves of four
    frames and longer are kept. Two tokens say what an object looks like in all frames,
    the last ones draw the background; both are of mean square 1. Nothing but its path changes an object.

    Objects are looked for one after the other: in a new network where the color is unlike the usual one, and not where
    the one before was found. Of all ways through the frames the one is followed that is worth most where jumping costs,
    so two that look alike are not taken for each other. A network that was trained on six frames, three apart, encodes
    the sixteen of their span. The backward of bilinear sampling is not deterministic on CUDA.

    Args:
        spec: sizes; the resolution is a multiple of 16.
        width: channels of what sees the frames; None: the spec's.
        objects: N: 1, 2 or 4.

    Raises:
        ValueError: another number of objects, a resolution that is no multiple of 16, or frames not from 1 to 64.
    """

    flat_only = True  # see `vidiff.nn.circular`

    def __init__(self, spec: ClipSpec, width: int | None = None, objects: int = 2):
        super().__init__()
        check_frames(spec.num_frames)
        if objects not in (1, 2, 4) or spec.resolution % 16:
            raise ValueError(
                f"objects must be 1, 2 or 4 and the resolution a multiple of 16, got {objects} and {spec.resolution}"
            )
        self.objects, self.side, self.frames, c = objects, spec.resolution, spec.num_frames, spec.channels
        self.numbers, w = objects * EACH, width or spec.width
        self.ground_tokens = GRID**2 * GROUND // self.numbers
        self.others = LOOKS * objects + self.ground_tokens
        self.features = _FrameFeatures(2 * c, w)
        self.heat = nn.ModuleList(zeroed(_conv(w + 2, 1, 1)) for _ in range(objects))
        self.query = zeroed(nn.Linear(w, w))
        self.glimpse = nn.Sequential(
            *(nn.Conv2d(c, w, 4, 2, 1), nn.SiLU(), nn.Conv2d(w, 2 * w, 4, 2, 1), nn.SiLU(), nn.Flatten()),
            *(nn.Linear(2 * w * (GLIMPSE // 4) ** 2, 64), nn.SiLU()),
        )
        self.appearance = nn.Sequential(nn.Linear(64 + w, 96), nn.SiLU(), nn.Linear(96, LOOKS * self.numbers))
        self.pose = nn.Sequential(nn.Linear(64 + w, 64), nn.SiLU(), nn.Linear(64, EACH))
        picture = spec.resolution // 2
        steps = max(1, round(math.log2(picture // 4)))
        self.draw = nn.Sequential(
            *(nn.Linear(LOOKS * self.numbers, 128), nn.SiLU(), nn.Linear(128, 16 * 48), nn.SiLU()),
            nn.Unflatten(1, (48, 4, 4)),
            *(layer for i in range(steps) for layer in self._up(48 if i == 0 else 32, 32)),
            *(_conv(32, 16), nn.SiLU(), _conv(16, c + 1)),
        )
        steps = round(math.log2(spec.resolution // GRID))
        self.ground = nn.Sequential(
            *(_conv(3 * c, w, 4, 2), nn.SiLU()),
            *(layer for _ in range(steps - 1) for layer in (nn.Conv2d(w, w, 4, 2, 1), nn.SiLU())),
            *(_conv(w, w), nn.SiLU(), _conv(w, GROUND)),
        )
        self.drift = nn.Sequential(nn.Linear(GRID**2 * GROUND, 32), nn.SiLU(), nn.Linear(32, 2))
        self.drawn_ground = nn.Sequential(
            *(_conv(GROUND, 2 * w), nn.SiLU()),
            *(layer for i in range(steps - 1) for layer in self._up(2 * w if i == 0 else w, w)),
            *(_conv(w if steps > 1 else 2 * w, 4 * c), nn.PixelShuffle(2)),
        )
        axis = (torch.arange(picture) + 0.5) * 2 / picture - 1
        radius = (axis[:, None] ** 2 + axis**2).sqrt()
        self.register_buffer("window", ((1.0 - radius) * picture / 4).clamp(0.0, 1.0), persistent=False)
        self.register_buffer("hill", 1.5 - 3.0 * radius**2, persistent=False)  # a new object is a small soft ball

    @staticmethod
    def _up(c_in: int, c_out: int) -> tuple[nn.Module, ...]:
        """Twice the sides and a convolution."""
        return nn.Upsample(scale_factor=2, mode="bilinear"), _conv(c_in, c_out), nn.SiLU()

    @property
    def last(self) -> nn.Parameter:
        """The weights of the last convolution of objects, where an adaptive weight compares gradients."""
        return self.draw[-1].weight

    def latent_shape(self, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(6 N, K + others, 1, 1) of a clip of so many frames."""
        return (self.numbers, kept(frames) + self.others, 1, 1)

    def latent_spec(self, spec: ClipSpec) -> ClipSpec:
        """Sizes of the latents of clips of these sizes, as if they were clips."""
        c, t, side, _ = self.latent_shape(spec.num_frames, spec.resolution, spec.resolution)
        return replace(spec, channels=c, num_frames=t, resolution=side)

    def encode(self, clip: Tensor) -> Tensor:
        """clip (B, C, T, H, W) in [-1, 1] -> latents (B, 6 N, K + 2 N + 32 / N, 1, 1); the path of an object that is
        not drawn is 0: it could be any, which a flow would learn for nothing."""
        latents = self._encoded(clip)
        k = latents.shape[2] - self.others
        looks = latents[:, :, k : k + LOOKS * self.objects, 0, 0].transpose(1, 2)
        masks = self._pictures(looks.reshape(len(clip) * self.objects, -1))[:, -1]
        there = (masks.flatten(1).amax(1) > THERE).to(clip).view(len(clip), self.objects)
        paths = latents[:, :, :k] * there.repeat_interleave(EACH, 1)[..., None, None, None]
        return torch.cat([paths, latents[:, :, k:]], 2)

    def _encoded(self, clip: Tensor) -> Tensor:
        """Latents as they are trained: an object that is not drawn goes somewhere, where it may come back."""
        b, _, t, _, _ = clip.shape
        frames = clip.transpose(1, 2).flatten(0, 1)  # (B, C, T, H, W) -> (B T, C, H, W)
        where, seen = self._found(frames, t)  # (B T N, 2), (B T N, D)
        around = _around(*where.unbind(1), NEAR, GLIMPSE)
        near = F.grid_sample(frames.repeat_interleave(self.objects, 0), around, align_corners=False)
        seen = torch.cat([self.glimpse(near), seen], 1)
        offset, size, turn = self.pose(seen).split([2, 2, 2], 1)
        paths = [FAR * (where + 0.3 * torch.tanh(offset)), FAR / 2 * torch.tanh(size), FAR / 10 * unit(turn)]
        paths = self._rising(t, clip) * (waves(t).to(clip) @ torch.cat(paths, 1).view(b, t, self.numbers))[:, : kept(t)]
        looks = self.appearance(seen).view(b, t, self.objects, -1).mean(1)
        looks = unit(looks.flatten(0, 1)).view(b, LOOKS * self.objects, self.numbers)
        ground = self.ground(torch.cat([clip.mean(2), clip[:, :, 0], clip[:, :, -1]], 1))
        ground = unit(F.pixel_unshuffle(ground, 2))  # (B, 3, 8, 8) -> (B, 12, 4, 4)
        ground = ground.flatten(2).transpose(1, 2).reshape(b, self.ground_tokens, self.numbers)
        return torch.cat([paths, looks, ground], 1).transpose(1, 2)[..., None, None]

    @staticmethod
    def _rising(frames: int, like: Tensor) -> Tensor:
        """What waves are multiplied by (K, 1): those of short period are weak in paths."""
        return (1 + torch.arange(kept(frames), device=like.device).to(like)[:, None] / 3) ** 1.5

    def _found(self, frames: Tensor, num_frames: int) -> tuple[Tensor, Tensor]:
        """Frames of clips (B T, C, H, W) -> places (B T N, 2) in [-1, 1] and the features there (B T N, D)."""
        clips = len(frames) // num_frames
        usual = frames.view(clips, num_frames, frames.shape[1], -1).transpose(1, 2).flatten(2).median(2).values
        unusual = frames - usual.repeat_interleave(num_frames, 0)[..., None, None]
        features = self.features(torch.cat([frames, unusual], 1))
        n, d, h, w = features.shape
        y, x = (((torch.arange(k, device=frames.device) + 0.5) * 2 / k - 1).to(frames) for k in (h, w))
        grid = torch.stack([x.expand(h, w), y[:, None].expand(h, w)], 2).flatten(0, 1)  # (h w, 2)
        salient = F.avg_pool2d(unusual.square().sum(1, keepdim=True).sqrt(), 2).flatten(1)  # (B T, h w)
        salient = (salient - salient.mean(1, keepdim=True)) / (salient.std(1, keepdim=True) + 0.05)
        tokens, taken = features.flatten(2).transpose(1, 2), torch.zeros_like(salient)  # (B T, h w, D), (B T, h w)
        where, seen = [], []
        for heat in self.heat:
            maps = torch.cat([features, taken.view(n, 1, h, w), salient.view(n, 1, h, w)], 1)
            logits = heat(maps).flatten(1) + SALIENT * (salient - 4 * taken)
            # What it looks like in the whole clip says which one is meant where there are several.
            share = logits.view(clips, -1).softmax(1)
            query = self.query(torch.einsum("bn,bnd->bd", share, tokens.reshape(clips, -1, d)))
            alike = torch.einsum("bd,btnd->btn", query, tokens.view(clips, num_frames, -1, d)) / math.sqrt(d)
            logits = logits + alike.flatten(0, 1)
            way = followed(logits.view(clips, num_frames, h, w))  # (B, T, 2)
            away = (grid - way.flatten(0, 1)[:, None]).square().sum(2)
            share = (logits - away / (2 * AROUND**2)).softmax(1)  # (B T, h w)
            where.append(share @ grid)
            seen.append(torch.einsum("bn,bnd->bd", share, tokens))
            apart = (grid - where[-1][:, None]).square().sum(2)
            taken = torch.maximum(taken, torch.exp(-apart / (2 * TAKEN**2)))
        return torch.stack(where, 1).flatten(0, 1), torch.stack(seen, 1).flatten(0, 1)

    def decode(self, latents: Tensor, frames: int | None = None) -> Tensor:
        """Latents (B, 6 N, K + 2 N + 32 / N, 1, 1) -> clip (B, C, T, H, W), about [-1, 1].

        Args:
            frames: T; None: that of the network where it has K waves, else K.
        """
        tokens = latents[..., 0, 0].transpose(1, 2)
        b, k = len(tokens), tokens.shape[1] - self.others
        t = frames or (self.frames if kept(self.frames) == k else k)
        paths, looks, ground = tokens.split([k, LOOKS * self.objects, self.ground_tokens], 1)
        ground = ground.reshape(b, GRID**2 // 4, -1).transpose(1, 2).unflatten(2, (GRID // 2, GRID // 2))
        drawn = self._drawn_ground(unit(ground), t)  # (B, 12, 4, 4) -> (B T, C, H, W)
        paths = t * (waves(t).to(latents)[:k].T @ (paths / self._rising(t, latents)))
        pictures = self._pictures(unit(looks.reshape(b * self.objects, -1))).unflatten(0, (b, 1, self.objects))
        pictures = pictures.expand(-1, t, -1, -1, -1, -1).flatten(0, 2)  # (B T N, C + 1, h, w)
        placed = self._placed(paths.reshape(-1, EACH), pictures).unflatten(0, (b * t, self.objects))
        for i in range(self.objects):
            drawn = drawn * (1.0 - placed[:, i, -1:]) + placed[:, i, :-1]
        return drawn.unflatten(0, (b, t)).transpose(1, 2)

    def _pictures(self, looks: Tensor) -> Tensor:
        """Looks of objects (M, D) -> their pictures, times their masks, and masks (M, C + 1, h, w)."""
        picture = self.draw(looks)
        mask = torch.sigmoid(3.0 * picture[:, -1:] + self.hill) * self.window
        return torch.cat([torch.tanh(picture[:, :-1]) * mask, mask], 1)

    def _placed(self, paths: Tensor, pictures: Tensor) -> Tensor:
        """Numbers (M, 6) and pictures (M, C + 1, h, w) of objects -> pictures where they are (M, C + 1, H, W)."""
        turn = F.normalize(paths[:, 4:], dim=1)
        # Read at the inverse: the way from the object's middle turned back, over half its sides.
        smaller = torch.exp(-1.8 / FAR * paths[:, 2:4]) / 0.42  # (M, 2)
        cos, sin = turn.unbind(1)
        back = torch.stack([torch.stack([cos, sin], 1), torch.stack([-sin, cos], 1)], 1) * smaller[:, :, None]
        way = -(back @ paths[:, :2, None]) / FAR  # (M, 2, 1)
        grid = F.affine_grid(torch.cat([back, way], 2), [len(way), 1, self.side, self.side], align_corners=False)
        return F.grid_sample(pictures, grid, align_corners=False)

    def _drawn_ground(self, ground: Tensor, frames: int) -> Tensor:
        """Background (B, 12, 4, 4) -> (B T, C, H, W): drawn once, moved evenly around its middle."""
        picture = self.drawn_ground(F.pixel_shuffle(ground, 2))
        picture = F.pad(picture, (self.side // 8,) * 4, mode="replicate")
        way = (torch.arange(frames, device=ground.device).to(ground) + 0.5) / frames - 0.5
        x, y = (0.5 * torch.tanh(self.drift(ground.flatten(1)))[:, None] * way[:, None]).flatten(0, 1).unbind(1)
        picture = picture[:, None].expand(-1, frames, -1, -1, -1).flatten(0, 1)
        grid = _around(x, y, 0.8, self.side)
        return F.grid_sample(picture, grid, padding_mode="border", align_corners=False)

    def forward(self, clip: Tensor, label: Tensor | None = None, noise: Tensor | None = None) -> Tensor:
        """clip (B, C, T, H, W) -> what is left of it; `noise` is added to its latents. The label is not used."""
        latents = self._encoded(clip)
        if noise is not None:
            latents = latents + noise * self.borne(latents)
        return self.decode(latents, clip.shape[2])

    def borne(self, latents: Tensor) -> Tensor:
        """1 where a number bears noise, 0 in paths: noise there would only blur."""
        share = torch.ones_like(latents)
        share[:, :, : latents.shape[2] - self.others] = 0.0
        return share
