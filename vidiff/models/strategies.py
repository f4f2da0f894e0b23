"""Strategies of training as configuration: stages, weights of terms, rates that follow a metric, a balance of players.

Nothing here is drawn or remembered from the outside: a stage is a function of the step, and what the plateau and the
balance have seen travels in the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from vidiff.errors import UsageError
from vidiff.optim import Plateau, RateOnPlateau, Schedule
from vidiff.parallel import mean_over_processes

Player = Literal["g", "d"]


Stage = dict[str, Any]
"""A part of a training, `{steps: 50, players: [d], weights: {fake: 2.0}}`.

steps: generator steps it lasts; where only D trains G's turns pass and count all the same. The last stage lasts to the
end in any case. players: who trains (default g and d). weights: factors of named terms, on top of `term_weights`.
"""


@dataclass
class Balance:
    """Holds D back while it wins too clearly and helps it while it loses, so that G keeps something to learn from.

    s, the share of real and generated clips that D puts on the right side of the middle of its mean logits
    (`train/d_separation`; 1/2 = it cannot tell, 1 = it always can), is averaged over `interval` updates of D and over
    all processes. Above `target + tolerance` D is held back by one step, below `target - tolerance` helped by one.

    Args:
        adapt: `lr_d`: D's rate is divided (multiplied) by `step`; `n_critic`: one D update a G update fewer (more);
            `g_steps`: one G update more (fewer).
        target, tolerance: s that is aimed at, in (0, 1), and the distance from it at which something changes.
        interval: D updates between two decisions.
        step: factor of `lr_d`, above 1.
        limit: `lr_d` stays within [1 / limit, limit] of the scheduled rate, the others within [1, limit].
    """

    adapt: Literal["lr_d", "n_critic", "g_steps"] = "lr_d"
    target: float = 0.8
    tolerance: float = 0.1
    interval: int = 10
    step: float = 1.25
    limit: float = 8.0


class Balancer:
    """The state of a `Balance`.

    Args:
        options: what to adapt, and how.
        start: its value at the beginning (a factor of D's rate, or a number of updates).
    """

    def __init__(self, options: Balance, start: float):
        o = options
        if o.adapt not in ("lr_d", "n_critic", "g_steps"):
            raise UsageError(f"model.balance.adapt must be lr_d, n_critic or g_steps, got {o.adapt!r}")
        if not (0 < o.target < 1 and o.tolerance >= 0 and o.interval >= 1 and o.step > 1 and o.limit >= max(1, start)):
            raise UsageError(
                f"model.balance: {o}; accepted: target in 0..1, tolerance >= 0, interval >= 1, step > 1, and limit at "
                f"least 1 and the {start:g} that it starts from"
            )
        self.options, self.value = options, start
        self.total: Tensor | float = 0.0
        self.count = 0

    def update(self, separation: Tensor) -> None:
        """Take note of one update of D, and decide when it is time; read back from the device only then."""
        self.total, self.count = self.total + separation, self.count + 1
        if self.count < self.options.interval:
            return
        excess = float(self.total) / self.count - self.options.target
        self.total, self.count = 0.0, 0
        if abs(excess) > self.options.tolerance:
            self.value = self._moved(strong=excess > 0)

    def _moved(self, strong: bool) -> float:
        o = self.options
        if o.adapt == "lr_d":
            value, low = self.value / o.step if strong else self.value * o.step, 1.0 / o.limit
        else:
            value, low = self.value + (1 if strong == (o.adapt == "g_steps") else -1), 1.0
        return min(max(value, low), o.limit)

    def state_dict(self) -> dict[str, Any]:
        return {"adapt": self.options.adapt, "value": self.value, "total": float(self.total), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["adapt"] == self.options.adapt:  # the configuration wins over the checkpoint
            self.value, self.total, self.count = state["value"], state["total"], state["count"]


def _check_stage(where: str, stage: Stage, last: bool, players: tuple[Player, ...]) -> None:
    who, weights = stage.get("players", list(players)), stage.get("weights", {})
    steps = stage.get("steps", 1 if last else None)
    if unknown := sorted(set(stage) - {"steps", "players", "weights"}):
        raise UsageError(f"{where} has no {unknown[0]!r}; accepted: steps, players, weights")
    if type(steps) is not int or steps < 1:
        raise UsageError(
            f"{where}.steps must be a whole number of at least 1 (only the last may have none), got {steps}"
        )
    if not isinstance(who, list) or not who or any(p not in players for p in who):
        accepted = "a list of g, d or both" if len(players) > 1 else f"[{players[0]}], the only player"
        raise UsageError(f"{where}.players must be {accepted}, got {who}")
    if not isinstance(weights, dict) or not all(type(w) in (int, float) for w in weights.values()):
        raise UsageError(f"{where}.weights must be numbers by the names of terms, got {weights}")


class Strategies:
    """What holds for the next update: who trains, with which weights of terms and at which rate, how often.

    Args:
        stages, term_weights, plateau, balance, n_critic, g_steps: see `AdversarialModule`.
        schedule: learning-rate factor over generator steps.
        players: who plays at all.

    Raises:
        UsageError: a stage, the plateau or the balance has settings that cannot work.
    """

    def __init__(
        self,
        stages: list[Stage] | None = None,
        term_weights: dict[str, float] | None = None,
        plateau: Plateau | None = None,
        balance: Balance | None = None,
        schedule: Schedule = Schedule(),
        n_critic: int = 1,
        g_steps: int = 1,
        players: tuple[Player, ...] = ("g", "d"),
    ):
        self.players = players
        self.stages, self.term_weights, self.schedule = list(stages or []), dict(term_weights or {}), replace(schedule)
        for i, stage in enumerate(self.stages):
            _check_stage(f"model.stages[{i}]", stage, last=i == len(self.stages) - 1, players=players)
        self.plateau = RateOnPlateau(plateau) if plateau is not None else None
        self._term_names: dict[Player, list[str]] = {}
        self.take_turns(n_critic, g_steps, balance)

    def take_turns(self, n_critic: int, g_steps: int, balance: Balance | None = None) -> None:
        """How often the players move, see `AdversarialModule`."""
        self._start = {"lr_d": 1.0, "n_critic": n_critic, "g_steps": g_steps}
        self.balancer = Balancer(balance, self._start.get(balance.adapt, 1.0)) if balance is not None else None

    def _balanced(self, name: str) -> float:
        balancer = self.balancer
        return balancer.value if balancer is not None and balancer.options.adapt == name else self._start[name]

    @property
    def n_critic(self) -> int:
        """D updates per G update, as the balance has it at present."""
        return int(self._balanced("n_critic"))

    @property
    def g_steps(self) -> int:
        """G updates per (n_critic) D updates, as the balance has it at present."""
        return int(self._balanced("g_steps"))

    def stage(self, step: int) -> Stage:
        """The stage that a generator step belongs to; an empty one without stages."""
        for stage in self.stages[:-1]:
            if step < stage["steps"]:
                return stage
            step -= stage["steps"]
        return self.stages[-1] if self.stages else {}

    def trains(self, player: Player, step: int) -> bool:
        """Whether a player moves at a generator step."""
        return player in self.stage(step).get("players", self.players)

    def rate_factor(self, player: Player, step: int) -> float:
        """Factor of a player's learning rate: schedule, plateau, and for D the balance."""
        factor = self.schedule.factor(step)
        if self.plateau is not None:
            factor *= self.plateau.value
        return factor * self._balanced("lr_d") if player == "d" else factor

    def weighted(self, player: Player, terms: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        """A player's terms times `term_weights` and the stage's weights; `g_adv` is one term, `adv` that of both.

        Raises:
            UsageError: a weight for a term that there is not, as soon as the players have shown what they have.
        """
        if player not in self._term_names:
            self.declare_terms(player, list(terms))
        for weights in (self.term_weights, self.stage(step).get("weights", {})):
            for name in terms if weights else ():
                terms[name] = terms[name] * weights.get(f"{player}_{name}", weights.get(name, 1.0))
        return terms

    def declare_terms(self, player: Player, names: list[str]) -> None:
        """Every term that a player may have, where a family has more than those of its first update.

        Raises:
            UsageError: a weight for a term that there is not.
        """
        self._term_names[player] = names
        terms = [f"{p}_{name}" for p, names in self._term_names.items() for name in names]
        for key in [*self.term_weights, *(k for s in self.stages for k in s.get("weights", {}))]:
            decided = len(self._term_names) == len(self.players) or key.split("_")[0] in self._term_names
            if decided and key not in terms and not any(key == n[2:] for n in terms):
                raise UsageError(
                    f"model.term_weights or a stage's weights: there is no term {key!r}. The terms are "
                    f"{', '.join(terms)}; without g_ or d_ a weight is for both players"
                )

    def plan(self, steps: int | None) -> None:
        """Let the rates reach their end where the training does, after `steps`; what cannot work fails now."""
        if self.schedule.total_steps is None:
            self.schedule.total_steps = steps
        self.schedule.factor(0)

    def after_evaluation(self, values: dict[str, float], device: torch.device | str = "cpu") -> None:
        """Take note of a regular evaluation (`val/<metric>`), alike on every process.

        Args:
            device: where processes can average.
        """
        if self.plateau is None:
            return
        metric = self.plateau.options.metric
        if metric not in values:
            raise UsageError(f"model.plateau.metric {metric!r} is not evaluated; there are: {', '.join(values)}")
        value = torch.tensor(values[metric], device=device)
        self.plateau.update(mean_over_processes({metric: value})[metric])

    def state_dict(self) -> dict[str, Any]:
        parts = {"plateau": self.plateau, "balance": self.balancer}
        return {name: part.state_dict() for name, part in parts.items() if part is not None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in (("plateau", self.plateau), ("balance", self.balancer)):
            if part is not None and name in state:
                part.load_state_dict(state[name])
