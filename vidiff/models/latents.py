"""Working in the latents of an autoencoder: the sampler that decodes, weights that are taken, clips encoded once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vidiff.clip import ClipSpec, uint8_to_unit, unit_to_signed
from vidiff.errors import UsageError, at_least
from vidiff.models.record import network_of, unlike
from vidiff.models.turn import Turn
from vidiff.nn.autoencoder import Pixels
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.flow_unet import FlowSampler

SPREAD = 256  # clips whose latents are measured
LEAST_SPREAD = 0.3  # a number that is the same in all clips is of this standard deviation


class KnownLatents:
    """Latents of clips that came before: in a small data set without augmentation most of them do.

    A clip is known by its content, and encoded by itself, so that its latents do not depend on the clips around it: a
    run that is continued, with nothing known, makes the same step.

    Args:
        megabytes: most that is kept, the oldest go first; 0: nothing is, and a batch is encoded at once.
    """

    def __init__(self, megabytes: int):
        at_least(0, **{"model.keep_latents": megabytes})
        self.limit, self.size = megabytes * 10**6, 0
        self.kept: OrderedDict[bytes, Tensor] = OrderedDict()

    @torch.no_grad()
    def encode(self, codec: nn.Module, clips: Tensor) -> Tensor:
        """clips (B, C, T, H, W) in [-1, 1] -> latents (B, c, t, h, w) by `codec`."""
        if not self.limit:
            return codec.encode(clips)
        return torch.cat([self._one(codec, clip) for clip in clips.split(1)])

    def _one(self, codec: nn.Module, clip: Tensor) -> Tensor:
        key = hashlib.blake2b(clip.cpu().numpy().tobytes(), digest_size=16).digest()
        if key not in self.kept:
            found = self.kept[key] = codec.encode(clip)
            self.size += found.nbytes
        found = self.kept[key]
        while self.size > self.limit:
            self.size -= self.kept.popitem(last=False)[1].nbytes
        return found


def flow_sampler(
    generator: NetworkFactory, autoencoder: NetworkFactory | None, **sampling: Any
) -> Callable[[ClipSpec], FlowSampler]:
    """The factory of a `FlowSampler` of what `generator` makes, in the latents of `autoencoder` where there is one."""

    def made(spec: ClipSpec) -> FlowSampler:
        codec = Pixels() if autoencoder is None else autoencoder(spec)
        return FlowSampler(generator(codec.latent_spec(spec)), spec.num_classes, codec=codec, **sampling)

    return made


def take_tokenizer(path: str, *samplers: FlowSampler) -> None:
    """Give samplers the averaged weights of an autoencoder's checkpoint for their latents.

    Raises:
        UsageError: there is no such file, or it is of another network.
        RunError: it is no checkpoint.
    """
    _, state = network_of(path, "model.tokenizer")
    for sampler in samplers:
        if name := unlike(sampler.codec.state_dict(), state):
            raise UsageError(f"model.tokenizer {path}: it is not of model.autoencoder, {name} differs: set its sizes")
        sampler.codec.load_state_dict(state)


@torch.no_grad()
def take_spread(data: Any, *samplers: FlowSampler) -> None:
    """Give networks that ask for it, with a tensor `data_std`, the standard deviation of every number of the latents.

    Args:
        data: datamodule; SPREAD clips of its training set are encoded, the same in every process.
        samplers: of one tokenizer.
    """
    if not isinstance(getattr(samplers[0].network, "data_std", None), Tensor):
        return
    codec, parts = samplers[0].codec, []
    for _, clips, _ in data.eval_clips("train", SPREAD):
        parts.append(codec.encode(unit_to_signed(uint8_to_unit(clips.to(next(codec.parameters()).device)))))
    for sampler in samplers:
        sampler.network.data_std.copy_(torch.cat(parts).std(0).clamp(min=LEAST_SPREAD))


def encoded(turn: Turn) -> Tensor:
    """A turn's real clips in the latents of its model, once for all turns on the batch."""
    if "latent" not in turn.batch:
        turn.batch["latent"] = turn.model.known.encode(turn.model.generator.codec, turn.real)
    return turn.batch["latent"]
