"""What every trained family shares, whoever plays: updates of players, the average, checkpoints, sampling.

One *step* is one update of the generator; `trainer.global_step`, `max_steps`, checkpoints, schedules, EMA and every
logged x-axis count it. Here the generator is the only player and a training batch makes one update of it;
`vidiff.models.base` puts a discriminator beside it.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar, Iterable, Iterator, Sequence

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from vidiff import keyed
from vidiff.clip import ClipSpec
from vidiff.ema import GeneratorEMA, decay_from_half_life
from vidiff.errors import UsageError
from vidiff.models.arguments import KeepsArguments
from vidiff.models.checks import (
    check_arguments,
    check_generator,
    check_parts,
    check_precision,
    compile_all,
    prepare_training,
)
from vidiff.models.record import check_end, check_restored, configure_again, make_record, record_of
from vidiff.models.sampler import Sampler
from vidiff.models.strategies import Player, Stage, Strategies
from vidiff.models.turn import Terms, Turn
from vidiff.models.updates import count_step, diverged, in_parts, make_optimizers, norms, planned_steps, step
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.circular import Frames, projected
from vidiff.nn.recompute import recomputing
from vidiff.optim import Plateau, Schedule
from vidiff.parallel import average_gradients, broadcast_buffers, on_every_process, rank, world_size


class VideoModule(KeepsArguments, L.LightningModule):
    """A generator of clips that is trained by itself.

    A family sets its paper's defaults and implements `generator_losses(turn)`, see `Turn`: weighted, named terms whose
    sum is the objective and whose names are the dashboard's (`train/g_<name>`).

    Args:
        num_frames, resolution, channels, num_classes, projection: of a clip; set them on the data, they are linked.
        width: base channels of the networks.
        latent_dim: length of z.
        generator: network factory, called with a `ClipSpec`.
        optimizer_g: optimizer factory, called with the generator's parameters.
        lr_schedule: learning-rate factor over generator steps, for every player.
        ema_decay: decay of the generator's moving average per G update, warmed up.
        ema_half_life: the same in clips seen; overrides `ema_decay`.
        clip_grad_norm: largest gradient norm of each player, None = no clipping.
        accumulate: parts that a batch goes through the networks in, one after the other, their gradients averaged: the
            step is that of the batch, the memory that of a part.
        stages: parts of the training one after the other, each a `Stage` (a dict): who trains,
            with which weights, for how long.
        term_weights: factors of named terms: `d_real` is one, `adv` that of both players.
        plateau: the rates fall when a validation metric no longer does, see `Plateau`.
        compile: compile the networks with torch.compile (gradient penalties stay eager).
        recompute: the generator's blocks are run again in the backward pass: the same step, less memory, more time.
        seed: key of latents and of in-network noise; linked to `seed_everything`.
    """

    turn_order: ClassVar[tuple[Player, ...]] = ("g",)
    """The players, in the order of their optimizers."""

    def __init__(
        self,
        num_frames: int = 16,
        resolution: int = 32,
        channels: int = 3,
        num_classes: int | None = None,
        width: int = 32,
        latent_dim: int = 100,
        *,
        generator: NetworkFactory,
        optimizer_g: OptimizerCallable,
        lr_schedule: Schedule = Schedule(),
        ema_decay: float = 0.999,
        ema_half_life: float | None = None,
        clip_grad_norm: float | None = None,
        accumulate: int = 1,
        stages: list[Stage] | None = None,
        term_weights: dict[str, float] | None = None,
        plateau: Plateau | None = None,
        compile: bool = False,
        recompute: bool = False,
        projection: Frames = "flat",
        seed: int = 0,
    ):
        super().__init__()
        check_arguments(self.arguments)
        self.automatic_optimization = False
        self.spec = ClipSpec(channels, num_frames, resolution, width, latent_dim, num_classes, projection)
        self.seed, self.clip_grad_norm, self.ema_half_life = seed, clip_grad_norm, ema_half_life
        self.accumulate = accumulate
        self.compile_networks, self.recompute = compile, recompute
        self.strategies = Strategies(stages, term_weights, plateau, schedule=lr_schedule, players=self.turn_order)
        self._factories = {"g": optimizer_g}
        self.config: dict[str, Any] | None = None  # class_path and init_args as the command line parsed them
        self.data_record: dict[str, Any] = {}  # `describe()` of the training data, kept in checkpoints
        self.loaded_from: dict[str, str] = {}  # `name` and `sha256` of the checkpoint that it was loaded from
        self.restored_data: dict[str, Any] = {}  # the same as a resumed checkpoint had it
        self._restored_end: int | None = None  # where the rates of a resumed run ended
        self.batches_seen = 0
        self.terms: dict[str, Tensor] = {}  # the newest value of everything that is logged
        self._drawn = keyed.generator(seed, "weights").get_state()
        self._generator_factory = lambda spec: projected(generator(spec), projection)
        with self.drawing_weights():
            self.generator = self._generator_factory(self.spec)
        self.generator_ema = GeneratorEMA(self.generator, ema_decay)

    @contextmanager
    def drawing_weights(self) -> Iterator[None]:
        """Initial weights made in the block are a function of the seed alone, whatever was drawn outside; each block
        goes on where the one before has ended."""
        with keyed.forked(self.seed, "weights"):
            torch.set_rng_state(self._drawn)
            yield
            self._drawn = torch.get_rng_state()

    # ---- what a family implements -------------------------------------------------------------------------------

    def generator_losses(self, turn: Turn) -> Terms:
        """Weighted, named terms whose sum G minimizes."""
        raise NotImplementedError

    def losses(self, turn: Turn) -> Terms:
        """The terms of the player whose turn it is."""
        return self.generator_losses(turn)

    def play(self, batch: dict[str, Tensor]) -> None:
        """The updates on a training batch, each a turn."""
        self.take(Turn(self, "g", batch))
        self.batches_seen += 1

    def fake_clips(self, turn: Turn) -> Any:
        """As many generated clips as the batch has real ones; families call `turn.fake()`."""
        return self.generator(turn.latents(), turn.label)

    def before_batch(self, batch: dict[str, Tensor]) -> None:
        """Called before the updates of a training batch, whoever is to move (growing networks grow here)."""

    def watched(self, turn: Turn) -> dict[str, Tensor]:
        """What is logged of a turn after its update, beside its terms."""
        return {}

    def after_update(self, player: Player) -> None:
        """Called after each optimizer step of a player (weight clipping lives here)."""

    def rate_factor(self, player: Player) -> float:
        """Factor of a player's learning rate in the next update."""
        return self.strategies.rate_factor(player, self.trainer.global_step)

    def synthesize(
        self, network: nn.Module, ids: Sequence[int], seed: int, label: Tensor | None, num_frames: int | None
    ) -> Tensor:
        """Clips in [-1, 1] of these sample ids by `network`; a family that can choose its length overrides this."""
        if num_frames not in (None, exactly := self.spec.num_frames):
            raise UsageError(f"{type(self).__name__} makes clips of exactly {exactly} frames, not {num_frames}")
        return network(self.latents(ids, "sample", seed), label)

    def statistics_batch(self, network: nn.Module, ids: range) -> None:
        """Run `network` on keyed clips: what the moving average's BatchNorm is measured on."""
        network(self.latents(ids, "statistics"), self.sampler.labels(ids))

    # ---- what a family uses -------------------------------------------------------------------------------------

    def latents(self, slots: Iterable[int] | Tensor, *parts: int | str) -> Tensor:
        """z (len(slots), Z), row i a function of (seed, parts, slots[i]): the same on 1 or 8 processes."""
        return keyed.normal(slots, (self.spec.latent_dim,), self.seed, "z", *parts).to(self.device, self.dtype)

    @property
    def players(self) -> dict[Player, nn.Module]:
        return {"g": self.generator}

    @property
    def of_the_batch(self) -> list[str]:
        """What would have to be set for every loss to be a mean over clips, so that a batch can be done in parts."""
        return []

    def check_shape(self) -> None:
        """Refuse networks that cannot make the shape of the data, see `vidiff.models.checks`."""
        check_generator(self)

    def configure_optimizers(self) -> list[Optimizer]:
        optimizers = make_optimizers(self.players, self._factories)
        self._configured = [[dict(group) for group in optimizer.param_groups] for optimizer in optimizers]
        return optimizers

    def optimizer_of(self, wrapped: bool = True) -> dict[Player, Any]:
        """Each player's optimizer, as Lightning wraps it or as it is."""
        found = self.optimizers(use_pl_optimizer=wrapped)  # one by itself comes in no list
        return dict(zip(self.turn_order, found if isinstance(found, list) else [found]))

    def setup(self, stage: str) -> None:
        check_precision(self.trainer)
        if stage != "fit":
            return
        prepare_training(self)
        if (self.trainer.max_epochs or 0) <= 0:  # else: when the length of an epoch is known, in `on_train_start`
            self._plan()
        if self.compile_networks:
            compile_all(self.players.values(), self.device)

    def _plan(self) -> None:
        self.strategies.plan(planned_steps(self.trainer, self.strategies.n_critic, self.strategies.g_steps))

    def on_train_start(self) -> None:
        self._plan()
        check_end(self.strategies.schedule, self._restored_end)
        for (player, optimizer), settings in zip(self.optimizer_of().items(), self._configured):
            configure_again(player, optimizer, settings)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        # In-network noise and dropout become a function of (seed, batch, rank): nothing to restore on resume.
        torch.manual_seed(keyed.key(self.seed, "step", self.batches_seen, rank()))
        batch = self._cast(batch)
        check_parts(self, len(batch["slot"]))
        if self.ema_half_life is not None:
            clips = len(batch["slot"]) * world_size() * self.strategies.n_critic / self.strategies.g_steps
            self.generator_ema.decay = decay_from_half_life(self.ema_half_life, clips)
        self.before_batch(batch)
        with recomputing(self.generator) if self.recompute else nullcontext():
            self.play(batch)
        # BatchNorm's statistics drift apart between processes; between two batches they are equal.
        for network in (*self.players.values(), self.generator_ema):
            broadcast_buffers(network)

    def _cast(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with its clips (`clip`, or `clip_a` and `clip_b`) in the module's precision."""
        return {k: v.to(self.dtype) if k.split("_")[0] == "clip" else v for k, v in batch.items()}

    def take(self, turn: Turn) -> None:
        """One turn: the player's update, or none in a stage that trains the other one; G's is a step all the same."""
        player = turn.player
        old = (f"train/{player}_", f"train/lr_{player}")
        self.terms = {k: v for k, v in self.terms.items() if not k.startswith(old)}  # not shown again and again
        if self.strategies.trains(player, self.trainer.global_step):
            optimizer = self.optimizer_of()[player]
            with self.toggled_optimizer(optimizer):  # the other player's parameters take no gradients
                self._update(turn, optimizer)
        elif player == "g":
            count_step(self.trainer)

    def _update(self, turn: Turn, optimizer: LightningOptimizer) -> None:
        """The only backward: objective, gradients over parts and processes, optimizer step, EMA."""
        player = turn.player
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate_factor(player)
        optimizer.zero_grad(set_to_none=True)
        for part in in_parts(turn, self.players.values()):
            terms = self.strategies.weighted(player, self.losses(part), self.trainer.global_step)
            total = torch.stack([t.reshape(()) for t in terms.values()]).sum()
            if not on_every_process(torch.isfinite(total)):
                raise diverged(self.trainer, self.batches_seen, player, terms)
            self.manual_backward(total / len(turn.parts))
            part.note(**terms, total=total)
            part.predictions.clear()  # with their graph
        average_gradients(list(self.players[player].parameters()))
        step(self.trainer, optimizer, counts=player == "g")
        if player == "g":
            self.generator_ema.update_parameters(self.generator)
        self.after_update(player)
        self.terms |= {f"train/{player}_{name}": value for name, value in turn.notes.items()}
        self.terms[f"train/lr_{player}"] = torch.tensor(optimizer.param_groups[0]["lr"])
        self.terms |= self.watched(turn)

    def on_before_optimizer_step(self, optimizer) -> None:
        # Here, and not right after backward, because under fp16 gradients are scaled until now.
        player = next(p for p, own in self.optimizer_of(wrapped=False).items() if own is optimizer)
        parameters = [p for p in self.players[player].parameters() if p.grad is not None]
        norm, weights = norms(parameters)
        self.terms |= {f"train/{player}_grad_norm": norm, f"train/{player}_weight_norm": weights}
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # skips a step with infinite gradients itself
        if scaler is None and not torch.isfinite(norm + weights):
            raise diverged(self.trainer, self.batches_seen, player, {"grad_norm": norm, "weight_norm": weights})
        if self.clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.clip_grad_norm, norm)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """The generator's terms on held-out clips: far above those of training clips when it knows these by heart."""
        turn = Turn(self, "g", self._cast(batch))
        values = {f"val/g_{name}": value for name, value in self.losses(turn).items()}
        self.log_dict(values, batch_size=len(turn.slots))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def after_evaluation(self, values: dict[str, float]) -> None:
        """Take note of the metrics of a regular evaluation (`val/<metric>`), alike on every process."""
        self.strategies.after_evaluation(values, self.device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # The average's BatchNorm statistics are measured now: whoever samples from the file need not.
        self.sampler.averaged()
        checkpoint["vidiff"] = make_record(self, checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        record = record_of(checkpoint)
        check_restored(self, record, checkpoint["state_dict"])
        if record.get("fused") and self.trainer.state.fn == "fit":
            raise UsageError("--ckpt_path: this checkpoint was fused from several and has no training to continue")
        self.batches_seen = record["batches_seen"]
        self.strategies.load_state_dict(record.get("strategies", {}))
        self.restored_data, self._restored_end = record["data"], record.get("total_steps")

    @property
    def sampler(self) -> Sampler:
        """What makes clips with the present weights."""
        networks = self.generator, self.generator_ema
        return Sampler(self.synthesize, self.statistics_batch, *networks, self.seed, self.spec.num_classes)

    def generate(self, ids: Sequence[int], seed: int = 0, **options: Any) -> Tensor:
        """Clips uint8 (len(ids), C, T, H, W) on the CPU; clip i is a function of (weights, seed, ids[i], label).

        Args:
            options: `labels`, `num_frames` and `ema`, see `Sampler.generate`.
        """
        return self.sampler.generate(ids, seed, **options)

    def iter_samples(
        self, ids: Sequence[int], seed: int = 0, batch_size: int = 64, **options: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """(ids (B,), clips uint8 (B, C, T, H, W)) in batches: memory does not grow with the number of clips."""
        return self.sampler.batches(self.generate, ids, seed, batch_size, **options)

    def sample(self, n: int, seed: int = 0, batch_size: int = 64, **options: Any) -> Tensor:
        """n clips, uint8 (n, C, T, H, W) on the CPU; clip i is the same for any n and batch size.

        Args:
            seed: key of the latents.
            options: `labels`, `num_frames` and `ema`, see `Sampler.generate`.
        """
        if n < 1:
            raise UsageError(f"the number of clips must be at least 1, got {n}")
        return torch.cat([clips for _, clips in self.iter_samples(range(n), seed, batch_size, **options)])

    def initial_generator(self) -> nn.Module:
        """A generator with the weights of step 0, in eval mode: the baseline that training has to leave behind."""
        with keyed.forked(self.seed, "weights"):
            return self._generator_factory(self.spec).to(self.device, self.dtype).eval()
