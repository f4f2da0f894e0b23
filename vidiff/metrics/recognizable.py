"""`recognizable`: the share of generated clips of the embedded set in which shape and motion can be named."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from vidiff.clip import clip_to_frames, signed_to_uint8, uint8_to_unit, unit_to_signed
from vidiff.metrics.features import Extractor
from vidiff.metrics.sprites import MOTIONS, SIDE, MotionNamer, SpriteFinder, Tracks, candidates, track

WEIGHTS = Path(__file__).with_name("recognizable.safetensors")
SIZES = (2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.5)  # pixels of radius of a frame of 32: limits between classes of size
PARTS = ("shape", "steady", "path", "motion")


class Recognized(NamedTuple):
    """What is seen in each clip.

    Args:
        passed: part (of PARTS) -> bool (N,): whether the clip is as certain there as 95 % of real ones.
        frames: the share of its frames in which the shape passes and is that of the path, (N,).
        shape: int64 (N,), position in SHAPES, of the sprite that was followed.
        motion: int64 (N,), position in MOTIONS.
        where: x, y, radius of the sprite in picture sides, (N, T, 3).
    """

    passed: dict[str, Tensor]
    frames: Tensor
    shape: Tensor
    motion: Tensor
    where: Tensor

    @property
    def all(self) -> Tensor:
        """bool (N,): every part passed."""
        return torch.stack(list(self.passed.values())).all(0)


class Recognizer(nn.Module):
    """Names what moves in clips of the embedded set, style plain, and says how certainly."""

    def __init__(self) -> None:
        super().__init__()
        self.finder, self.namer = SpriteFinder(), MotionNamer()
        # Of real frames, by the radius in pixels, logits and margins that nearly all have: a small sprite says less.
        self.register_buffer("usual", torch.zeros(len(SIZES) + 1, 2))
        self.register_buffer("least", torch.full((len(MOTIONS), len(PARTS)), -1e9))  # that passes, of each motion

    @torch.no_grad()
    def statistics(self, clips: Tensor, frame_stride: int = 1, batch_size: int = 32) -> tuple[Tracks, Tensor, Tensor]:
        """Clips uint8 (N, 3, T, H, W) -> tracks, motion (N,), and a number for each part of PARTS
        (N, 4), the greater the more certain."""
        parts = [track(candidates(self._heads(part)), frame_stride) for part in clips.split(batch_size)]
        tracks = Tracks(*(torch.cat(p) for p in zip(*parts)))
        logits = self.namer(tracks.where, frame_stride)
        motion = logits[:, :-1].argmax(1)
        others = logits.scatter(1, motion[:, None], -torch.inf).logsumexp(1)
        certainty = logits.gather(1, motion[:, None])[:, 0] - others
        step = tracks.where[..., :2].diff(dim=1).norm(dim=-1).amax(1) / frame_stride
        worst = self._compared(tracks).amin(1)
        return tracks, motion, torch.stack([*worst.T, -step, certainty], 1)

    def _compared(self, tracks: Tracks) -> Tensor:
        """Logit and margin of every frame, above those of real sprites of this size (N, T, 2)."""
        size = torch.bucketize(tracks.where[..., 2].contiguous(), self.usual.new_tensor(SIZES))
        return torch.stack([tracks.named, tracks.margin], 2) - self.usual[size]

    def _heads(self, clips: Tensor) -> Tensor:
        frames = clip_to_frames(unit_to_signed(uint8_to_unit(clips.to(self.least.device))))
        if frames.shape[-2:] != (SIDE, SIDE):
            frames = F.interpolate(frames, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
        return self.finder(frames).unflatten(0, (len(clips), -1))

    def recognize(self, clips: Tensor, frame_stride: int = 1) -> Recognized:
        """What is seen in clips.

        Args:
            clips: uint8 (N, 3, T, H, W), T at least 2.
            frame_stride: distance of their frames in a video of the embedded set.
        """
        tracks, motion, numbers = self.statistics(clips, frame_stride)
        ok = numbers >= self.least[motion]
        frames = (self._compared(tracks) >= self.least[motion, None, :2]).all(2).float().mean(1)
        return Recognized(dict(zip(PARTS, ok.T)), frames, tracks.shape, motion, tracks.where / SIDE)


@functools.cache
def load_recognizer() -> Recognizer:
    """The trained networks and their thresholds."""
    recognizer = Recognizer()
    recognizer.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()}, strict=False)
    return recognizer.eval().requires_grad_(False)


class Recognition(Extractor):
    """What `Recognizer` says of each clip as features: whether everything can be named, each of PARTS, and the share of
    its frames in which the shape can be (D = 6).

    Args:
        frame_stride: of the clips in a video of the embedded set.
    """

    name = "recognizer"
    dim = 2 + len(PARTS)
    min_frames = 2
    min_size = SIDE
    resize = f"{SIDE}x{SIDE} bilinear antialias"
    trust = "part of the package"

    def __init__(self, frame_stride: int = 1):
        super().__init__()
        self.frame_stride, self.sha256 = frame_stride, hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
        self.recognizer = load_recognizer()

    def features(self, clips: Tensor) -> Tensor:
        seen = self.recognizer.recognize(clips, self.frame_stride)
        return torch.stack([seen.all, *seen.passed.values(), seen.frames], 1).float()

    @staticmethod
    def parts(rows: Tensor) -> dict[str, float]:
        """The share of each of PARTS, their mean, and the share of frames, of features (N, 6)."""
        *shares, frames = rows[:, 1:].double().mean(0).tolist()
        return dict(zip(PARTS, shares)) | {"mean": sum(shares) / len(shares), "frames": frames}


def recognizable(clips: Tensor, frame_stride: int = 1) -> dict[str, float]:
    """The share of clips in which everything can be named, and of each part.

    Args:
        clips: (N, 3, T, H, W), uint8 or float in [-1, 1]; T at least 2, H and W at least 32.
        frame_stride: distance of their frames in a video of the embedded set.

    Returns:
        `recognizable`, and the shares `shape`, `steady`, `path`, `motion`, `mean`, the mean of these four,
        and `frames`, the share of frames in which the shape can be named.
    """
    rows = Recognition(frame_stride)(signed_to_uint8(clips) if clips.is_floating_point() else clips)
    return {"recognizable": rows[:, 0].mean().item(), **Recognition.parts(rows)}
