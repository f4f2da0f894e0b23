"""Prints at the start of a training how the players compare: size, cost and the strength of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vidiff import keyed
from vidiff.models.translation import Translator
from vidiff.models.updates import parts_of
from vidiff.nn.blocks import count_parameters


def amount(value: float) -> str:
    """1234567 -> `1.23 M`."""
    for unit in ("", " k", " M", " G"):
        if abs(value) < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g} T"


def compared(values: dict[str, str], unit: str, sizes: Sequence[float]) -> str:
    """`G 3 and D 4 parameters, G/D 0.75`; of a player alone without the ratio.

    Args:
        values: by player, as they are written.
        sizes: the same as numbers.
    """
    said = " and ".join(f"{player.upper()} {value}" for player, value in values.items()) + f" {unit}"
    return said if len(sizes) == 1 else f"{said}, {ratio(*sizes)}"


def ratio(g: float, d: float) -> str:
    return f"G/D {g / d:.3g}" if d else "G/D n/a"


@torch.no_grad()
def count_flops(networks: list[nn.Module], run: Callable[[], object]) -> int:
    """FLOPs (2 a multiplication with addition) of `run`, with `networks` in eval mode and nothing drawn or changed."""
    modes = [n.training for n in networks]
    for n in networks:
        n.eval()
    try:
        with keyed.forked("flops"), FlopCounterMode(display=False) as counter:
            run()
    finally:
        for n, mode in zip(networks, modes):
            n.train(mode)
    return counter.get_total_flops()


class Players(Callback):
    """Prints parameters and FLOPs a clip of the players at the start, and their gradient norms after some steps.

    Args:
        steps: generator steps that the norms are averaged over.
    """

    def __init__(self, steps: int = 10):
        self.steps = steps

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._norms: list[tuple[Tensor, ...]] = []
        self._inputs: dict[nn.Module, tuple] = {}
        self._hooks, self._step = [], trainer.global_step
        if not trainer.is_global_zero:
            return
        counts = {player: count_parameters(network) for player, network in pl_module.players.items()}
        written = {player: f"{count:,}" for player, count in counts.items()}
        trainer.print(f"players: {compared(written, 'parameters', [*counts.values()])}")
        # The first batch shows what discriminators are given; hooks do not reach into a compiled network.
        self._flops_due = not pl_module.compile_networks
        if self._flops_due:
            judges = [part for p, net in pl_module.players.items() if p != "g" for part in parts_of(net)]
            self._hooks = [part.register_forward_pre_hook(self._note) for part in judges]

    def _note(self, part: nn.Module, inputs: tuple) -> None:
        if part not in self._inputs:
            self._inputs[part] = tuple(x.detach().clone() if isinstance(x, Tensor) else x for x in inputs)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs, batch, batch_idx) -> None:
        if not trainer.is_global_zero:
            return
        for hook in self._hooks:
            hook.remove()
        if self._flops_due and bool(self._inputs) == ("d" in pl_module.players):
            self._print_flops(trainer, pl_module, batch)
        self._hooks, self._inputs, self._flops_due = [], {}, False
        self._note_norms(trainer, pl_module)

    def _print_flops(self, trainer: Trainer, module: LightningModule, batch: dict[str, Tensor]) -> None:
        if isinstance(module, Translator):
            clip = next(v for k, v in batch.items() if k.split("_")[0] == "clip")[:1]
            make = lambda: module.mapping(0, 1, ema=False)(clip.to(module.dtype))  # noqa: E731
        else:
            make = lambda: module.generate([0], ema=False)  # noqa: E731
        flops = {"g": count_flops(parts_of(module.generator), make)}
        # One clip's share of the batch: frames of a clip may come as clips of their own.
        one = lambda x: x[: max(1, len(x) // len(batch["slot"]))] if isinstance(x, Tensor) else x  # noqa: E731
        for player in [p for p in module.players if p != "g"]:
            judge = lambda: [part(*map(one, xs)) for part, xs in self._inputs.items()]  # noqa: E731
            flops[player] = count_flops(list(self._inputs), judge)
        written = {player: amount(count) for player, count in flops.items()}
        trainer.print(f"players: {compared(written, 'FLOP a clip', [*flops.values()])}")

    def _note_norms(self, trainer: Trainer, module: LightningModule) -> None:
        norms = [module.terms.get(f"train/{p}_grad_norm") for p in module.players]
        if len(self._norms) == self.steps or trainer.global_step == self._step or None in norms:
            return
        self._step = trainer.global_step
        self._norms.append(tuple(norms))
        if len(self._norms) == self.steps:
            means = torch.tensor(self._norms, dtype=torch.float64).mean(0).tolist()
            written = {player: f"{mean:.3g}" for player, mean in zip(module.players, means)}
            unit = f"gradient norm (mean of {self.steps} steps)"
            trainer.print(f"players: {compared(written, unit, means)}")
