"""Says during a training what `vidiff doctor` would say of it, each thing once, and keeps why a training ended."""

from __future__ import annotations

import contextlib
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vidiff.doctor.evidence import STOPPED, Evidence, read_curves
from vidiff.doctor.examine import RULES, diagnose
from vidiff.doctor.thresholds import LIVE_FROM_SHARE, LIVE_FROM_STEPS
from vidiff.errors import RunError, UsageError, first_line
from vidiff.files import read_yaml, write_json
from vidiff.progress import say
from vidiff.training.run import Run

# What can be judged before the end; `TrainingLog` itself warns of a data path that starves the model.
LIVE = {name: rule for name, rule in RULES.items() if name not in ("starved", "few_clips", "improving")}


class Doctor(Callback):
    """After each evaluation, warn of what has gone wrong; not in the first steps, and not again after a resume.

    Args:
        run: the run folder, whose tables are read.
    """

    def __init__(self, run: Run):
        self.run = run
        self.said: list[str] = []

    def state_dict(self) -> dict[str, Any]:
        return {"said": self.said}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.said = [str(kind) for kind in state_dict["said"]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            (self.run.dir / STOPPED).unlink(missing_ok=True)  # of a training that is continued now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        early = max(LIVE_FROM_STEPS, LIVE_FROM_SHARE * max(0, trainer.max_steps))
        if trainer.state.fn != "fit" or not trainer.is_global_zero or trainer.global_step < early:
            return
        try:
            evidence = Evidence(read_curves(self.run.dir), read_yaml(self.run.dir / "config.yaml"))
        except (RunError, UsageError, OSError):  # a diagnosis is no reason to end a training
            return
        for finding in diagnose(evidence, LIVE).findings:
            if finding.level == "bad" and finding.kind not in self.said:
                self.said.append(finding.kind)
                say(f"step {trainer.global_step}: {finding.title} {finding.evidence} `vidiff doctor {self.run.dir}`")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if trainer.is_global_zero and isinstance(exception, RunError) and self.run.dir.is_dir():
            error = str(exception) or first_line(exception)
            with contextlib.suppress(OSError, UsageError):  # a full disk: what stopped the run is said, not this
                write_json(self.run.dir / STOPPED, {"step": trainer.global_step, "error": error})
