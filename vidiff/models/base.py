"""The adversarial step: what every family shares, so that a family file holds only its game and its networks.

One *step* is one generator update; `trainer.global_step`, `max_steps`, checkpoints, schedules, EMA and every logged
x-axis count it. A training batch makes one discriminator update, and every `n_critic`-th batch also makes `g_steps`
generator updates. (Where a stage trains D alone, the turns that G lets pass are counted in their place.)
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Callable, ClassVar, Iterable, Iterator

import lightning as L
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff import keyed
from vidiff.augment import AdaptiveAugment, DiffAugment
from vidiff.clip import ClipSpec
from vidiff.ema import GeneratorEMA, decay_from_half_life
from vidiff.errors import RunError, UsageError
from vidiff.models._checks import check_arguments, check_compiler, check_strategy, planned_steps
from vidiff.models._precision import check_precision
from vidiff.models.arguments import constructor_arguments
from vidiff.models.heads import head_losses
from vidiff.models.logits import adapt_augmentation, describe_logits
from vidiff.models.record import Record
from vidiff.models.sampler import Sampling
from vidiff.models.strategies import Balance, Player, Stage, Strategies
from vidiff.models.turn import Terms, Turn
from vidiff.nn.blocks import NetworkFactory, mixes_clips
from vidiff.nn.mirror import MirrorDiscriminator
from vidiff.optim import Plateau, Schedule
from vidiff.parallel import average_gradients, broadcast_buffers, on_every_process, rank, world_size

PLAYERS: tuple[Player, ...] = ("g", "d")  # in the order of their optimisers
EXPLODED = 1e10  # a norm of weights that no network works with: a product of two such layers overflows float32


class AdversarialModule(Sampling, Record, Strategies, L.LightningModule):
    """A generator and a discriminator that take turns.

    A family sets its paper's defaults and implements `discriminator_losses(turn)` and `generator_losses(turn)`, see
    `Turn`. Each returns weighted, named terms; their sum is that player's objective and their names are the dashboard's
    (`train/d_<name>`, `train/g_<name>`).

    Args:
        num_frames, resolution, channels, num_classes: sizes of a clip; set them on the data, they are linked.
        width: base channels of both networks.
        latent_dim: length of z.
        generator, discriminator: network factories, called with a `ClipSpec`.
        optimizer_g, optimizer_d: optimiser factories, called with the player's parameters.
        lr_schedule: learning-rate factor over generator steps, for both players.
        n_critic: D updates per G update.
        g_steps: G updates per (n_critic) D updates.
        ema_decay: decay of the generator's moving average per G update, warmed up.
        ema_half_life: the same in clips seen; overrides `ema_decay`.
        clip_grad_norm: largest gradient norm of each player, None = no clipping.
        discriminator_augment: `DiffAugment` or `AdaptiveAugment` in front of the discriminator, on real and generated
            clips alike; None = none.
        stages: parts of the training one after the other, each a `Stage` (a dict): who trains,
            with which weights, for how long.
        term_weights: factors of named terms: `d_real` is one, `adv` that of both players.
        plateau: both rates fall when a validation metric no longer does, see `Plateau`.
        balance: D's rate, `n_critic` or `g_steps` follow how clearly D wins, see `Balance`.
        compile: compile both networks with torch.compile (gradient penalties stay eager).
        seed: key of latents and of in-network noise; linked to `seed_everything`.
    """

    real_above: ClassVar[float | None] = 0.0
    """The logit above which D takes a clip for real; None where only differences count: the middle of both means."""

    penalty_through: ClassVar[tuple[str, ...]] = ()
    """What may mix the clips of a batch in a discriminator whose gradient is penalised, where the paper has it so."""

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
        discriminator: NetworkFactory,
        optimizer_g: OptimizerCallable,
        optimizer_d: OptimizerCallable,
        lr_schedule: Schedule = Schedule(),
        n_critic: int = 1,
        g_steps: int = 1,
        ema_decay: float = 0.999,
        ema_half_life: float | None = None,
        clip_grad_norm: float | None = None,
        discriminator_augment: DiffAugment | AdaptiveAugment | None = None,
        stages: list[Stage] | None = None,
        term_weights: dict[str, float] | None = None,
        plateau: Plateau | None = None,
        balance: Balance | None = None,
        compile: bool = False,
        seed: int = 0,
    ):
        super().__init__()
        # The plain arguments travel in the checkpoint, so that `load_model` needs nothing but the file.
        self._arguments = constructor_arguments(self)
        check_arguments(self._arguments)
        self.automatic_optimization = False
        self.spec = ClipSpec(channels, num_frames, resolution, width, latent_dim, num_classes)
        self.n_critic, self.g_steps, self.seed = n_critic, g_steps, seed
        self.lr_schedule, self.clip_grad_norm = replace(lr_schedule), clip_grad_norm
        self.ema_half_life, self.compile_networks = ema_half_life, compile
        self._set_strategies(stages, term_weights, plateau, balance)
        self._factories = {"g": optimizer_g, "d": optimizer_d}
        self.config: dict[str, Any] | None = None  # class_path and init_args as the command line parsed them
        self.data_record: dict[str, Any] = {}  # what the data module says of itself, kept in checkpoints
        self.restored_data: dict[str, Any] = {}  # the same as a resumed checkpoint had it
        self.batches_seen = 0
        self.terms: dict[str, Tensor] = {}  # the newest value of everything that is logged
        # Initial weights are a function of the seed alone, whatever was drawn before.
        self._generator_factory = generator
        with keyed.forked(seed, "weights"):
            self.generator = generator(self.spec)
            self.discriminator = discriminator(self.spec)
            for part in list(self.discriminator.modules()):  # mirroring adds to them
                if isinstance(part, MirrorDiscriminator) and part.head is None:
                    part.mirror(self.generator)
        self.generator_ema = GeneratorEMA(self.generator, ema_decay)
        self.discriminator_augment = discriminator_augment

    # ---- what a family implements -------------------------------------------------------------------------------

    def discriminator_losses(self, turn: Turn) -> Terms:
        """Weighted, named terms whose sum D minimises."""
        raise NotImplementedError

    def generator_losses(self, turn: Turn) -> Terms:
        """Weighted, named terms whose sum G minimises."""
        raise NotImplementedError

    def fake_clips(self, turn: Turn) -> Any:
        """As many generated clips as the batch has real ones; families call `turn.fake()`."""
        return self.generator(turn.latents(), turn.label)

    def discriminate(self, clip: Tensor, label: Tensor | None) -> Any:
        """What D gives for clips (B, C, T, H, W): logits, or (logits, predictions); families call `turn.judge`."""
        return self.discriminator(clip, label)

    def real_logits(self, turn: Turn) -> Tensor:
        """Logits of a batch's real clips, for the validation's dashboard."""
        return turn.judge(turn.real, "real")

    def before_batch(self, batch: dict[str, Tensor]) -> None:
        """Called before the updates of a training batch, whoever is to move (growing networks grow here)."""

    def after_update(self, player: Player) -> None:
        """Called after each optimiser step of a player (weight clipping lives here)."""

    # ---- what a family uses -------------------------------------------------------------------------------------

    def latents(self, slots: Iterable[int] | Tensor, *parts: int | str) -> Tensor:
        """z (len(slots), Z), row i a function of (seed, parts, slots[i]): the same on 1 or 8 processes."""
        return keyed.normal(slots, (self.spec.latent_dim,), self.seed, "z", *parts).to(self.device, self.dtype)

    def penalty(self, function: Callable, *args: Any) -> Any:
        """A gradient penalty; eager even when the networks are compiled, which know no double backward.

        Raises:
            UsageError: D mixes the clips of a batch.
        """
        self.check_penalty()
        if not self.compile_networks:
            return function(*args)
        with torch.compiler.set_stance("force_eager"):
            return function(*args)

    def check_penalty(self) -> None:
        """Refuse a D that mixes the clips of a batch: a penalty is of each clip's own gradient.

        `penalty` asks; a family whose penalty is always there asks at construction too, before any data is read.
        """
        if mixing := [what for what in mixes_clips(self.discriminator) if what not in self.penalty_through]:
            raise UsageError(
                f"{type(self).__name__}: the gradient penalty is per clip and has no meaning through {mixing[0]}; give "
                "the discriminator norm: layer, instance or none, and no minibatch_std, or set the penalty's weight "
                "to 0 where the family can do without"
            )

    # ---- the step -----------------------------------------------------------------------------------------------

    @property
    def players(self) -> dict[Player, nn.Module]:
        return {"g": self.generator, "d": self.discriminator}

    def configure_optimizers(self):
        optimizers = []
        for player in PLAYERS:
            try:
                optimizers.append(self._factories[player](self.players[player].parameters()))
            except (ValueError, TypeError) as error:
                raise UsageError(f"model.optimizer_{player}: {error}") from error
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        plain = [[{k: v for k, v in g.items() if k != "params"} for g in o.param_groups] for o in optimizers]
        self._optimizer_settings = plain
        return optimizers

    def setup(self, stage: str) -> None:
        check_precision(self.trainer)
        if stage != "fit":
            return
        check_strategy(self.trainer)
        if (self.trainer.max_epochs or 0) <= 0:  # else: when the length of an epoch is known, in `on_train_start`
            self.plan_schedule()
        if self.compile_networks:
            check_compiler(self.device)
            for network in self.players.values():
                for part in network.values() if isinstance(network, nn.ModuleDict) else [network]:
                    part.compile()

    def plan_schedule(self) -> None:
        """Let the rates reach their end where the training does; a schedule that cannot work fails now."""
        if self.lr_schedule.total_steps is None:
            self.lr_schedule.total_steps = planned_steps(self.trainer, self.n_critic, self.g_steps)
        self.lr_schedule.factor(0)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        # In-network noise and dropout become a function of (seed, batch, rank): nothing to restore on resume.
        torch.manual_seed(keyed.key(self.seed, "step", self.batches_seen, rank()))
        batch = self._cast(batch)
        if self.ema_half_life is not None:
            clips = len(batch["slot"]) * world_size() * self.n_critic / self.g_steps
            self.generator_ema.decay = decay_from_half_life(self.ema_half_life, clips)
        self.before_batch(batch)
        turn = Turn(self, "d", batch)
        self._take(turn)
        self.batches_seen += 1
        if self.batches_seen % self.n_critic == 0:
            for move in range(self.g_steps):
                if 0 < self.trainer.max_steps <= self.trainer.global_step:
                    break
                self._take(Turn(self, "g", batch, move, turn.slots))
        # BatchNorm's statistics drift apart between processes: whoever looks between two batches finds them equal.
        for network in (*self.players.values(), self.generator_ema):
            broadcast_buffers(network)

    def _cast(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch with its clips (`clip`, or `clip_a` and `clip_b`) in the module's precision."""
        return {k: v.to(self.dtype) if k.split("_")[0] == "clip" else v for k, v in batch.items()}

    def _take(self, turn: Turn) -> None:
        """One turn: the player's update, or none in a stage that trains the other one."""
        if not self.trains(turn.player):
            self._pass(turn.player)
            return
        with self._alone(turn.player):
            self._update(turn)

    @contextmanager
    def _alone(self, player: Player) -> Iterator[None]:
        """Parameters of the other player take no gradients; what its user froze stays frozen before and after."""
        own = set(self.players[player].parameters())
        others = [p for n in self.players.values() for p in n.parameters() if p.requires_grad and p not in own]
        for p in others:
            p.requires_grad_(False)
        try:
            yield
        finally:
            for p in others:
                p.requires_grad_(True)

    def _update(self, turn: Turn) -> None:
        """The only backward: objective, gradients over processes, optimiser step, EMA."""
        player = turn.player
        optimizer = self.optimizers()[PLAYERS.index(player)]
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.rate_factor(player)
        optimizer.zero_grad(set_to_none=True)
        losses = self.discriminator_losses if player == "d" else self.generator_losses
        terms = losses(turn)
        terms = self.weighted(player, terms | head_losses(turn))
        total = torch.stack([t.reshape(()) for t in terms.values()]).sum()
        if not on_every_process(torch.isfinite(total)):
            self._stop_on_non_finite(player, terms)
        self.manual_backward(total)
        average_gradients(list(self.players[player].parameters()))
        self._step(optimizer, counts=player == "g")
        if player == "g":
            self.generator_ema.update_parameters(self.generator)
        self.after_update(player)
        if player == "d":
            self._follow_logits(turn)
        turn.note(**terms, total=total)
        self.terms |= {f"train/{player}_{name}": value for name, value in turn.notes.items()}
        self.terms[f"train/lr_{player}"] = torch.tensor(optimizer.param_groups[0]["lr"])

    def _follow_logits(self, turn: Turn) -> None:
        """After an update of D: what its logits say is logged, ADA and the balance follow.

        Raises:
            UsageError: either is wanted, and the family has not judged both sides.
        """
        adaptive = isinstance(self.discriminator_augment, AdaptiveAugment)
        if (answers := turn.answers()) is None:
            if adaptive or self.balancer is not None:
                what = "model.discriminator_augment: AdaptiveAugment" if adaptive else "model.balance"
                raise UsageError(
                    f"{what} goes by D's logits, and {type(self).__name__} does not show them: its "
                    'discriminator_losses has to get them by turn.judge(clip, "real") and turn.judge(clip, "fake")'
                )
            return
        described = describe_logits(*answers, gathered=self.balancer is not None)
        turn.note(**described)
        if adaptive:
            augment = self.discriminator_augment
            adapt_augmentation(augment, *answers, self.real_above, len(turn.batch["slot"]))
            self.terms |= {"train/ada_p": augment.p.clone(), "train/ada_r_t": augment.r_t.clone()}
        self._rebalance(described["separation"])

    def _step(self, optimizer, counts: bool) -> None:
        """Step through the LightningOptimizer (precision plugins need it), but let only G's steps be counted."""
        progress = self._progress
        before = progress.state_dict()
        optimizer.step()
        if not counts:
            progress.load_state_dict(before)

    def _pass(self, player: Player) -> None:
        """A turn without a move, in a stage that trains the other one; G's is a step all the same."""
        old = (f"train/{player}_", f"train/lr_{player}")
        self.terms = {k: v for k, v in self.terms.items() if not k.startswith(old)}  # not shown again and again
        if player == "g":
            self._progress.increment_ready()
            self._progress.increment_completed()

    @property
    def _progress(self):
        """Lightning's counter behind `trainer.global_step`."""
        return self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress

    def on_before_optimizer_step(self, optimizer) -> None:
        # Here, and not right after backward, because under fp16 gradients are scaled until now.
        player = next(p for p, o in zip(PLAYERS, self.optimizers(use_pl_optimizer=False)) if o is optimizer)
        parameters = [p for p in self.players[player].parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters])
        self.terms[f"train/{player}_grad_norm"] = norm
        # Behind normalisation and tanh, weights can explode while every loss stays finite.
        weights = nn.utils.get_total_norm([p.detach() for p in parameters])
        weights = torch.where(weights < EXPLODED, weights, math.inf)
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)  # skips a step with infinite gradients itself
        if scaler is None and not torch.isfinite(norm + weights):
            self._stop_on_non_finite(player, {"grad_norm": norm, "weight_norm": weights})
        if self.clip_grad_norm is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.clip_grad_norm, norm)

    def _stop_on_non_finite(self, player: Player, terms: dict[str, Tensor]) -> None:
        bad = ", ".join(f"{player}_{name}={t.item():g}" for name, t in terms.items() if not torch.isfinite(t))
        bad = bad or f"a term of {player} on another process"
        mixed = str(self.trainer.precision).endswith("-mixed")
        raise RunError(
            f"training diverged: {bad} is not finite at generator step {self.trainer.global_step}, batch "
            f"{self.batches_seen}. The last checkpoint is from before. Lower the learning rate"
            f"{', use precision 32-true' if mixed else ''} or set model.clip_grad_norm."
        )

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean logit of held-out clips: far below the training clips' means that D memorises."""
        logits = self.real_logits(Turn(self, "d", self._cast(batch), augmented=False))
        self.log("val/d_real_logit", logits.mean(), batch_size=len(batch["slot"]))

    test_step = validation_step
