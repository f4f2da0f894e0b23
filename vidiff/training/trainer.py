"""The Trainer of the training verbs: what a game of two players does with Lightning's settings, and what it refuses."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, StochasticWeightAveraging, WeightAveraging
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from vidiff.errors import UsageError
from vidiff.models.checks import check_precision
from vidiff.parallel import GameStrategy

TURNS = "does not work with two players that take turns"
OWN = {  # what replaces settings and callbacks of Lightning that assume one optimizer and one loss
    "accumulate_grad_batches": "set data.batch_size, and model.accumulate, the parts that a batch is done in",
    "gradient_clip_val": "set model.clip_grad_norm, the largest gradient norm of each player",
    GradientAccumulationScheduler: "set data.batch_size, and model.accumulate, the parts that a batch is done in",
    StochasticWeightAveraging: "the generator has a moving average: model.ema_decay or model.ema_half_life",
    WeightAveraging: "the generator has a moving average: model.ema_decay or model.ema_half_life",
}
# What Lightning says to everybody, and what does not apply here.
WARNINGS = (
    ".*does not have many workers.*",
    ".*module.s. in eval mode at the start of training.*",  # the moving average, on purpose
    ".*args parameter is intended to run from within Python.*",
    ".*LeafSpec.*is deprecated.*",
    ".*weights_only.*",
    ".*PU available but not used.*",  # whoever asks for the cpu means it, as `make demo` does
)
NOISE = ("Tip:", "available: False", "weights_only", "LOCAL_RANK", "Seed set to", "stopped: `max_steps")


def several(value: Any) -> list[Any]:
    """One, several or none of something, as Lightning takes them."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def check_settings(settings: dict[str, Any]) -> list[Callback]:
    """The user's callbacks, as a list.

    Raises:
        UsageError: a setting or callback that cannot work while two players take turns; what to use is named.
    """
    callbacks = several(settings.get("callbacks"))
    for name, without in (("accumulate_grad_batches", 1), ("gradient_clip_val", 0)):
        if (settings.get(name) or without) != without:
            raise UsageError(f"trainer.{name}={settings[name]} {TURNS}: {OWN[name]}")
    for callback in callbacks:
        for kind, instead in OWN.items():
            if isinstance(kind, type) and isinstance(callback, kind):
                name = type(callback).__name__
                raise UsageError(f"trainer.callbacks: {name} {TURNS}: {instead}")
    if (settings.get("log_every_n_steps") or 0) < 0:
        raise UsageError(f"trainer.log_every_n_steps must be at least 0 (never), got {settings['log_every_n_steps']}")
    return callbacks


def make_trainer(settings: dict[str, Any]) -> Trainer:
    """A Trainer on one device, or one whose processes average gradients by themselves, see `GameStrategy`.

    Raises:
        UsageError: another strategy than auto, ddp and its variants; or an environment that Lightning refuses.
    """
    strategy = settings.get("strategy", "auto")
    if isinstance(strategy, DDPStrategy) or str(strategy).split("_")[0] == "ddp":
        settings = settings | {"strategy": "auto"}
    try:
        trainer = Trainer(**settings)
        if isinstance(trainer.strategy, DDPStrategy):
            kept = {}
            if isinstance(strategy, DDPStrategy):
                kept = {"process_group_backend": strategy.process_group_backend, "timeout": strategy._timeout}
            trainer = Trainer(**settings | {"strategy": GameStrategy(**kept)})
    except RuntimeError as error:  # a cluster's environment that does not fit, such as SLURM without srun
        raise UsageError(" ".join(str(error).split())) from error
    if not isinstance(trainer.strategy, SingleDeviceStrategy | GameStrategy):
        raise UsageError(f"trainer.strategy {strategy} {TURNS}: use auto or ddp")
    check_precision(trainer)
    return trainer


def quiet() -> None:
    """Silence `WARNINGS` and `NOISE` for the rest of this process."""
    for text in WARNINGS:
        warnings.filterwarnings("ignore", text)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logger = logging.getLogger(name)
        for place in (logger, *logger.handlers):
            place.addFilter(_is_news)  # a second time changes nothing


def _is_news(record: logging.LogRecord) -> bool:
    return not any(text in record.getMessage() for text in NOISE)
