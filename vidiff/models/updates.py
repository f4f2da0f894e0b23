"""Parts of an update of one player: its optimizer, what Lightning counts as a step, what stops a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer

from vidiff.errors import RunError, UsageError
from vidiff.models.strategies import Player
from vidiff.models.turn import Turn
from vidiff.optim import fuse

EXPLODED = 1e10  # a norm of weights that no network works with: a product of two such layers overflows float32


def make_optimizers(
    players: dict[Player, nn.Module], factories: dict[Player, Callable[[Iterable[nn.Parameter]], Optimizer]]
) -> list[Optimizer]:
    """One optimizer for each player, its groups with the rate that schedules multiply, `initial_lr`.

    Raises:
        UsageError: a factory refuses its settings.
    """
    optimizers = []
    for player, network in players.items():
        try:
            optimizers.append(factories[player](network.parameters()))
        except (ValueError, TypeError) as error:
            raise UsageError(f"model.optimizer_{player}: {error}") from error
        fuse(optimizers[-1])
        for group in optimizers[-1].param_groups:
            group.setdefault("initial_lr", group["lr"])
    return optimizers


def parts_of(network: nn.Module) -> list[nn.Module]:
    """The networks of a player: itself, or those that a ModuleDict only holds."""
    return list(network.values()) if isinstance(network, nn.ModuleDict) else [network]


def _progress(trainer: Trainer):
    """Lightning's counter behind `trainer.global_step`."""
    return trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress


def step(trainer: Trainer, optimizer: LightningOptimizer, counts: bool) -> None:
    """Step through the LightningOptimizer (precision plugins need it), counted as a step of the trainer or not."""
    progress = _progress(trainer)
    before = progress.state_dict()
    optimizer.step()
    if not counts:
        progress.load_state_dict(before)


def count_step(trainer: Trainer) -> None:
    """Count a step that nobody makes."""
    _progress(trainer).increment_ready()
    _progress(trainer).increment_completed()


def in_parts(turn: Turn, networks: Iterable[nn.Module]) -> Iterator[Turn]:
    """The parts of a turn one after the other, each with the buffers of the networks as the first has found them: so
    the vectors of spectral norm are those of one pass, and move on once."""
    buffers = [b for network in networks for b in network.buffers()] if len(turn.parts) > 1 else []
    found = [b.clone() for b in buffers]
    for part in turn.parts:
        with torch.no_grad():
            for buffer, before in zip(buffers, found if part is not turn.parts[0] else ()):
                buffer.copy_(before)
        yield part
    turn.join()


def norms(parameters: list[nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Norms of the gradients and of the weights; the second infinite where no network works with such weights.

    Behind normalization and tanh, weights can explode while every loss stays finite.
    """
    weights = nn.utils.get_total_norm([p.detach() for p in parameters])
    return nn.utils.get_total_norm([p.grad for p in parameters]), torch.where(weights < EXPLODED, weights, math.inf)


def diverged(trainer: Trainer, batches_seen: int, player: Player, values: dict[str, Tensor]) -> RunError:
    """The error that stops a run: which of a player's values are not finite, when, and what to do."""
    bad = ", ".join(f"{player}_{name}={t.item():g}" for name, t in values.items() if not torch.isfinite(t))
    bad = bad or f"a term of {player} on another process"
    mixed = str(trainer.precision).endswith("-mixed")
    return RunError(
        f"training diverged: {bad} is not finite at generator step {trainer.global_step}, batch {batches_seen}. The "
        f"last checkpoint is from before. Lower the learning rate{', use precision 32-true' if mixed else ''} or set "
        "model.clip_grad_norm."
    )


def planned_steps(trainer: Trainer, n_critic: int, g_steps: int) -> int | None:
    """Generator steps until the trainer's `max_steps` or `max_epochs`, whichever comes first; None: there is no end.

    An epoch's length is known from `on_train_start` on, not earlier.
    """
    steps = [trainer.max_steps] if trainer.max_steps > 0 else []
    if (trainer.max_epochs or 0) > 0:
        batches = trainer.num_training_batches * trainer.max_epochs
        steps += [int(batches) // n_critic * g_steps] if math.isfinite(batches) else []
    return min(steps, default=None)
