"""The adversarial step: a discriminator beside the generator, and the order in which they move.

One *step* is one generator update. A training batch makes one discriminator update, and every `n_critic`-th batch also
makes `g_steps` generator updates. (Where a stage trains D alone, the turns that G lets pass are counted too.)
"""

from __future__ import annotations

from typing import Any, ClassVar

from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from vidiff.augment import AdaptiveAugment, DiffAugment
from vidiff.models.checks import check_discriminator, check_penalty
from vidiff.models.logits import follow_logits, head_losses
from vidiff.models.module import VideoModule
from vidiff.models.strategies import Balance, Player, Stage
from vidiff.models.turn import Terms, Turn
from vidiff.nn.blocks import NetworkFactory
from vidiff.nn.circular import Frames, projected
from vidiff.nn.mirror import mirror_all
from vidiff.optim import Plateau, Schedule


class AdversarialModule(VideoModule):
    """A generator and a discriminator that take turns.

    A family sets its paper's defaults and implements `discriminator_losses(turn)` and `generator_losses(turn)`, see
    `Turn`. Each returns weighted, named terms; their sum is that player's objective and their names are the dashboard's
    (`train/d_<name>`, `train/g_<name>`).

    Args:
        num_frames, resolution, channels, num_classes, projection: see `VideoModule`.
        width, latent_dim, generator: see `VideoModule`.
        discriminator: network factory, called with a `ClipSpec`.
        optimizer_g, optimizer_d: optimizer factories, called with the player's parameters.
        lr_schedule: see `VideoModule`.
        n_critic: D updates per G update.
        g_steps: G updates per (n_critic) D updates.
        ema_decay, ema_half_life, clip_grad_norm, accumulate: see `VideoModule`.
        discriminator_augment: `DiffAugment` or `AdaptiveAugment` in front of the discriminator, on real and generated
            clips alike; None = none.
        stages, term_weights, plateau: see `VideoModule`.
        balance: D's rate, `n_critic` or `g_steps` follow how clearly D wins, see `Balance`.
        compile, recompute, seed: see `VideoModule`.
    """

    turn_order = ("g", "d")

    real_above: ClassVar[float | None] = 0.0
    """The logit above which D takes a clip for real; None where only differences count: the middle of both means."""

    penalty_through: ClassVar[tuple[str, ...]] = ()
    """What may mix the clips of a batch in a discriminator whose gradient is penalized, where the paper has it so."""

    # Every setting by name, in the order that configurations are written in.
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
        accumulate: int = 1,
        discriminator_augment: DiffAugment | AdaptiveAugment | None = None,
        stages: list[Stage] | None = None,
        term_weights: dict[str, float] | None = None,
        plateau: Plateau | None = None,
        balance: Balance | None = None,
        compile: bool = False,
        recompute: bool = False,
        projection: Frames = "flat",
        seed: int = 0,
    ):
        sizes = num_frames, resolution, channels, num_classes, width, latent_dim
        averaged = dict(ema_decay=ema_decay, ema_half_life=ema_half_life, clip_grad_norm=clip_grad_norm)
        averaged |= dict(accumulate=accumulate)
        trained = dict(lr_schedule=lr_schedule, stages=stages, term_weights=term_weights, plateau=plateau)
        more = dict(compile=compile, recompute=recompute, projection=projection, seed=seed)
        super().__init__(*sizes, generator=generator, optimizer_g=optimizer_g, **averaged, **trained, **more)
        self.strategies.take_turns(n_critic, g_steps, balance)
        self._factories["d"] = optimizer_d
        with self.drawing_weights():
            self.discriminator = discriminator(self.spec)
            mirror_all(self.discriminator, self.generator)
            projected(self.discriminator, self.spec.projection, each_eye=False)
        self.discriminator_augment = discriminator_augment

    # ---- what a family implements -------------------------------------------------------------------------------

    def discriminator_losses(self, turn: Turn) -> Terms:
        """Weighted, named terms whose sum D minimizes."""
        raise NotImplementedError

    def discriminate(self, clip: Tensor, label: Tensor | None) -> Any:
        """What D gives for clips (B, C, T, H, W): logits, or (logits, predictions); families call `turn.judge`."""
        return self.discriminator(clip, label)

    def real_logits(self, turn: Turn) -> Tensor:
        """Logits of a batch's real clips, for the validation's dashboard."""
        return turn.judge(turn.real, "real")

    # ---- the game -----------------------------------------------------------------------------------------------

    @property
    def players(self) -> dict[Player, nn.Module]:
        return {"g": self.generator, "d": self.discriminator}

    def check_penalty(self) -> None:
        """Refuse a D that mixes the clips of a batch: a penalty is of each clip's own gradient.

        `Turn.penalty` asks; a family whose penalty is always there asks at construction too, before any data is read.
        """
        check_penalty(type(self).__name__, self.discriminator, self.penalty_through)

    def check_shape(self) -> None:
        super().check_shape()
        check_discriminator(self)

    def losses(self, turn: Turn) -> Terms:
        terms = {"d": self.discriminator_losses, "g": self.generator_losses}[turn.player](turn)
        return terms | head_losses(turn)

    def play(self, batch: dict[str, Tensor]) -> None:
        """D's update, and G's where it is its turn."""
        turn = Turn(self, "d", batch)
        if (self.batches_seen + 1) % self.strategies.n_critic == 0 and self._both_train():
            turn.keep_fake()  # before D's turn, in which G's parameters take no gradients
        self.take(turn)
        self.batches_seen += 1
        if self.batches_seen % self.strategies.n_critic == 0:  # the balance may have changed it
            for move in range(self.strategies.g_steps):
                if 0 < self.trainer.max_steps <= self.trainer.global_step:
                    break
                self.take(Turn(self, "g", batch, move, turn))

    def _both_train(self) -> bool:
        return all(self.strategies.trains(player, self.trainer.global_step) for player in self.turn_order)

    def watched(self, turn: Turn) -> dict[str, Tensor]:
        """D's logits, and what follows them: adaptive augmentation, the balance."""
        if turn.player == "g":
            return {}
        return follow_logits(turn, self.discriminator_augment, self.strategies.balancer, self.real_above)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Mean logit of held-out clips: far below the training clips' means that D memorizes."""
        logits = self.real_logits(Turn(self, "d", self._cast(batch), augmented=False))
        self.log("val/d_real_logit", logits.mean(), batch_size=len(batch["slot"]))
