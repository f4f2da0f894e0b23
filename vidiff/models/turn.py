"""A turn: one update of one player on one batch, or on parts of it one by one, as a family's losses receive it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from vidiff import keyed
from vidiff.models.strategies import Player
from vidiff.nn.blocks import mixes_clips
from vidiff.parallel import rank, world_size
from vidiff.penalties import difference_penalty

if TYPE_CHECKING:
    from vidiff.models.module import VideoModule

Side = Literal["real", "fake", "mixed"]
Terms = dict[str, Tensor]
"""Named, weighted terms of one player's objective, which is their sum."""

AGAIN = "made again"  # in the place of kept clips: of the same draws, each part's when it is its time


class Turn:
    """What a player has in hand when it moves, and what it leaves for the dashboard.

    It needs no trainer; a loss is computed anywhere with

        turn = Turn(model, "d", batch)
        terms = model.discriminator_losses(turn)

    Args:
        model: the family.
        player: who moves.
        batch: clips in [-1, 1], `slot` (B,) (the number of each sample in the whole run), `label` (B,) where there are
            classes.
        move: number of this player's move on the batch, from 0.
        after: D's turn on the same batch. G's first move has its draws: what D has judged is improved, as in every
            published code, and need not be generated twice.
        augmented: whether `model.discriminator_augment` is in front of the discriminator.

    Attributes:
        draw: (player, move) that what is random of the generated clips is keyed by, see `latents`.
        logits: side -> what the discriminator gave for it, in order, detached; what a penalty mixes is not kept.
        predictions: side -> what it gave beside its first logits.
        notes: name -> what is logged beside the terms.
        place: number of the part, and how many there are.
    """

    def __init__(
        self,
        model: VideoModule,
        player: Player,
        batch: dict[str, Tensor],
        move: int = 0,
        after: Turn | None = None,
        augmented: bool = True,
    ):
        self.model, self.player, self.batch, self.move, self.augmented = model, player, batch, move, augmented
        self.draw: tuple[Player, int] = (player, move)
        self.place, self._after = (0, 1), after
        self._parts: list[Turn] = []
        self._whole: Callable[[], Turn] | None = None  # a weak reference: its tensors go when it does
        self._kept: Any = None
        if after is not None:
            self.slots = after.slots
            if move == 0 and after._kept is not None:
                self.draw, self._kept = after.draw, after._kept
        self.logits: dict[Side, list[Tensor]] = {"real": [], "fake": []}
        self.predictions: dict[Side, Any] = {}
        self.notes: dict[str, Tensor] = {}
        self._key = (model.seed, "look", model.batches_seen, player, move)
        self._augmentations = 0
        self._made: dict[str, Any] = {}

    @property
    def parts(self) -> list[Turn]:
        """This turn, or, where the model has `accumulate`, turns on as many equal shares of its batch.

        What is random of a clip is the same in a part: it is to the batch what one process is to the global batch.
        """
        if (count := self.model.accumulate) == 1:
            return [self]
        self._parts = self._parts or [self._part(number, count) for number in range(count)]
        return self._parts

    def _part(self, number: int, count: int) -> Turn:
        size = len(self.slots) // count
        rows = slice(number * size, (number + 1) * size)
        before = None if self._after is None else self._after.parts[number]
        batch = {name: x[rows] for name, x in self.batch.items()} if before is None else before.batch
        part = Turn(self.model, self.player, batch, self.move, before, self.augmented)
        part._whole, part.place, part.draw, part.logits = weakref.ref(self), (number, count), self.draw, self.logits
        part.slots = self.slots[rows]
        return part

    @property
    def whole(self) -> Turn:
        """The turn on the whole batch that this one is a part of; itself where it is none."""
        return self if self._whole is None else self._whole()

    @property
    def rows(self) -> slice:
        """Its rows of the whole batch."""
        size = len(self.slots)
        return slice(self.place[0] * size, (self.place[0] + 1) * size)

    def once(self, make: Callable[[Turn], Any]) -> Any:
        """make(turn) of the whole batch, the same for each of its parts, made for the first one that asks."""
        made = self.whole._made
        if make.__name__ not in made:
            made[make.__name__] = make(self.whole)
        return made[make.__name__]

    def join(self) -> None:
        """Note what the parts have noted, averaged."""
        if len(self.parts) > 1:
            self.notes = {
                name: torch.stack([p.notes[name] for p in self.parts]).mean(0) for name in self.parts[0].notes
            }

    @cached_property
    def slots(self) -> list[int]:
        """The batch's slots as numbers: reading them waits for the device, once."""
        return self.batch["slot"].tolist()

    @property
    def real(self) -> Tensor:
        """The batch's clips (B, C, T, H, W) in [-1, 1]."""
        return self.batch["clip"]

    @property
    def label(self) -> Tensor | None:
        """The batch's labels (B,) when the model is conditional, else None."""
        return self.batch["label"] if self.model.spec.num_classes else None

    @property
    def class_target(self) -> Tensor:
        """A classifier's target for the real clips: labels (B,), or shares (B, K) where clips were joined."""
        return self.batch.get("label_share", self.batch["label"])

    def latents(self, *parts: int | str) -> Tensor:
        """z (B, Z) of this turn; `parts` tell several apart."""
        return self.model.latents(self.slots, *self.draw, *parts)

    def uniform(self, *parts: int | str) -> Tensor:
        """Uniform numbers in [0, 1) on the CPU (B,), each a function of (seed, parts, slot)."""
        generators = (keyed.generator(self.model.seed, *parts, s) for s in self.slots)
        return torch.stack([torch.rand((), generator=g) for g in generators])

    def keep_fake(self) -> None:
        """Generate the clips of D's turn now, with their graph: G's first move goes on from there.

        The step is the one that generates them once more for G, whose weights D's update does not change; in parts it
        is done so, for their graphs together would take the memory of the whole batch.
        """
        self._kept = self.model.fake_clips(self) if self.model.accumulate == 1 else AGAIN

    def fake(self) -> Any:
        """As many generated clips as real ones, by `model.fake_clips`; without a graph when D moves."""
        if self._kept is None or self._kept is AGAIN:
            with torch.set_grad_enabled(self.player == "g"):
                return self.model.fake_clips(self)
        if self.player == "d":
            return detached(self._kept)
        kept, self._kept = self._kept, None  # its graph is gone after one backward
        return kept

    def augment(self, clip: Tensor) -> Tensor:
        """Clips (B, C, T, H, W) as the discriminator gets them; every call of a turn has a key of its own."""
        operator = self.model.discriminator_augment
        if operator is None or not self.augmented:
            return clip
        self._augmentations += 1
        size, (number, count) = len(clip), self.place
        first, total = (rank() * count + number) * size, world_size() * count * size
        return operator(clip, (*self._key, self._augmentations), first, total)

    def judge(
        self,
        clip: Tensor,
        side: Side,
        by: Callable[[Tensor], Any] | None = None,
        counts: bool = True,
        augmented: bool = True,
    ) -> Tensor:
        """Logits of clips (B, C, T, H, W), augmented before.

        Args:
            side: whose clips these are; `mixed`, what a penalty makes of both, leaves no trace.
            by: one discriminator of several, clips -> logits or (logits, more); None: `model.discriminate`.
            counts: whether the dashboard, adaptive augmentation and `balance` go by these logits.
            augmented: False where that has been done.
        """
        clip = self.augment(clip) if augmented else clip
        out = self.model.discriminate(clip, self.label) if by is None else by(clip)
        return self._keep_answer(side, out, counts)

    def judge_both(self, fake: Tensor, fake_label: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the real clips and of generated ones (B, C, T, H, W) of the labels `fake_label`, as by `judge`.

        A discriminator that looks at each clip by itself gets all of them at once: its weights, of which a small batch
        waits for, are read and their gradients are made once.
        """
        model = self.model
        if mixes_clips(model.discriminator):
            real_logits = self.judge(self.real, "real")
            return real_logits, self.judge(fake, "fake", lambda clip: model.discriminate(clip, fake_label))
        clips = torch.cat([self.augment(self.real), self.augment(fake)])
        labels = None if self.label is None else torch.cat([self.label, fake_label])
        out = model.discriminate(clips, labels)
        real_out, fake_out = halves(out)
        return self._keep_answer("real", real_out), self._keep_answer("fake", fake_out)

    def _keep_answer(self, side: Side, out: Any, counts: bool = True) -> Tensor:
        """The logits of what a discriminator gave, (logits, more) or logits, with a trace for the dashboard."""
        logits, beside = out if isinstance(out, tuple) else (out, None)
        if side != "mixed":
            if counts:
                self.logits[side].append(logits.detach())
            if isinstance(out, tuple):
                self.predictions.setdefault(side, beside)
        return logits

    def penalty(self, function: Callable, *args: Any) -> Any:
        """`function(*args)`, one of `vidiff.penalties`; eager even when the networks are compiled, which know no double
        backward.

        Raises:
            UsageError: D mixes the clips of a batch.
        """
        self.model.check_penalty()
        with torch.compiler.set_stance("force_eager") if self.model.compile_networks else nullcontext():
            return function(*args)

    def approximate_penalty(self, clip: Tensor, side: Side, sigma: float, every: int) -> tuple[Tensor, Tensor]:
        """D(x), and R1 or R2 estimated from differences on every `every`-th sample of the run: cheaper than `penalty`,
        and no second derivative is needed. Both clips of a difference are augmented alike.

        In float32; the estimate is right on average, whatever the share: which samples it is of depends on their slots
        alone, and it is scaled up by `every`.
        """
        with torch.autocast(clip.device.type, enabled=False):
            clip = self.augment(clip.detach() if clip.dtype == torch.float64 else clip.detach().float())
            logits = self.judge(clip, side, augmented=False)
            rows = [i for i, slot in enumerate(self.slots) if slot % every == 0]
            if not rows:
                return logits, logits.new_zeros(())
            label = None if self.label is None else self.label[rows]
            noise = keyed.normal([self.slots[i] for i in rows], clip.shape[1:], self.model.seed, "penalty", side)
            near = partial(self._logits, label=label)
            penalties = difference_penalty(near, clip[rows], logits[rows], noise.to(clip), sigma)
        return logits, penalties.sum() * every / len(clip)

    def _logits(self, clip: Tensor, label: Tensor | None) -> Tensor:
        out = self.model.discriminate(clip, label)
        return out[0] if isinstance(out, tuple) else out

    def note(self, **values: Tensor) -> None:
        """Values that are logged beside the terms, as `train/<player>_<name>`."""
        self.notes |= {name: value.detach() for name, value in values.items()}

    def answers(self) -> tuple[Tensor, Tensor] | None:
        """The discriminator's logits for real and generated clips, float32 of any shape; None where a side has none."""
        if not all(self.logits.values()):
            return None
        real, fake = (x[0] if len(x) == 1 else torch.cat([y.flatten() for y in x]) for x in self.logits.values())
        return real.float(), fake.float()


def detached(clips: Any) -> Any:
    """A clip, or several in a dict or tuple, without their graph."""
    if isinstance(clips, dict):
        return {name: detached(clip) for name, clip in clips.items()}
    return tuple(map(detached, clips)) if isinstance(clips, tuple) else clips.detach()


def halves(out: Any) -> tuple[Any, Any]:
    """What a network gave for a batch, tensors in tuples and dicts, as that for its first and its second half."""
    if isinstance(out, dict):
        pairs = {name: halves(part) for name, part in out.items()}
        return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}
    if isinstance(out, tuple):
        first, second = zip(*map(halves, out))
        return first, second
    return (None, None) if out is None else out.chunk(2)
