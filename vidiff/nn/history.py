"""A buffer of generated clips of the past, shown to a discriminator in the place of fresh ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.clip import ClipSpec


class History(nn.Module):
    """The last `size` generated clips (Shrivastava et al. 2017, 1612.07828, section 2.3; 50 in Zhu et al. 2017).

    Until it is full, clips are kept and handed through. Then each clip is, with probability one half, exchanged for a
    random kept one. The clips are buffers, so they travel in the checkpoint; the choices are a function of the key and
    the slot, so that a resumed run chooses as the uninterrupted one.

    Args:
        spec: sizes of a clip.
        size: clips kept; 0 hands everything through.
    """

    def __init__(self, spec: ClipSpec, size: int = 50):
        super().__init__()
        self.size = size
        shape = (size, spec.channels, spec.num_frames, spec.resolution, spec.aspect * spec.resolution)
        self.register_buffer("clips", torch.zeros(shape))
        self.register_buffer("kept", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, clips: Tensor, slots: list[int], *key: int | str) -> Tensor:
        """clips (B, C, T, H, W) of the GLOBAL batch in the order of their slots -> what the discriminator sees."""
        out, kept = [], int(self.kept)  # read once: each read waits for the device
        for clip, slot in zip(clips.detach().to(self.clips), slots):
            shown = clip
            if kept < self.size:
                self.clips[kept] = clip
                kept += 1
            elif self.size:
                choice = keyed.key(*key, "history", int(slot)) % (2 * self.size)  # the upper half: no exchange
                if choice < self.size:
                    shown = self.clips[choice].clone()
                    self.clips[choice] = clip
            out.append(shown)
        self.kept.fill_(kept)
        return torch.stack(out)
