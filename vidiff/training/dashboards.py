"""Weights & Biases and TensorBoard: the same keys in the same groups over generator steps; neither asks for an account.

A resumed run stays one run, and no step is in it twice.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
from abc import abstractmethod
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from vidiff.errors import RunError, UsageError, first_line
from vidiff.files import write_text
from vidiff.progress import say
from vidiff.training.run import Run

FLOOR = "_floor"  # what the key of a metric's second series ends in
# Names of metrics.csv -> keys; what stands before the slash is a section of the dashboard. The first that fits counts.
KEYS = (
    (r"train/d_(real|fake)_logit", r"logits/\1"),
    (r"train/d_separation", "logits/separation"),
    (r"val/d_real_logit", "logits/held_out"),
    (r"val/d_(train_above_\w+)", r"logits/\1"),
    (r"train/([gd])_grad_norm", r"gradient_norm/\1"),
    (r"train/([gd])_weight_norm", r"weight_norm/\1"),
    (r"train/lr_([gd])", r"rate/\1"),
    (r"train/([gd]_\w*(accuracy|mean)\w*)", r"also/\1"),
    (r"train/([gd])_(\w+)", r"loss_\1/\2"),
    (r"train/(\w+)", r"strategy/\1"),
    (r"val/(\w+)", r"metric/\1"),
    (r"test/(\w+)", r"paired/\1"),
    (r"time/(\w+)", r"speed/\1"),
)


def key_of(name: str) -> str:
    """A name of metrics.csv as the dashboards have it: `train/g_adv` is `loss_g/adv`; a name of others stays."""
    for pattern, key in KEYS:
        if match := re.fullmatch(pattern, name):
            return match.expand(key)
    return name


class Dashboard(Logger):
    """What shows a run while it trains; opened when the first values come, so that a refused run leaves nothing.

    Args:
        run: the run folder; its path is read late, because process 0 names it.
    """

    name = version = ""

    def __init__(self, run: Run):
        super().__init__()
        self._run = run

    @property
    def save_dir(self) -> str:
        return str(self._run.dir)

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Show values at a generator step.

        Args:
            metrics: by name, as metrics.csv has them.
        """
        self.show({key_of(k): float(v) for k, v in metrics.items()}, int(step or 0))

    @rank_zero_only
    def log_floors(self, floors: dict[str, float], step: int) -> None:
        """A second series for every metric: what real clips have in its place.

        Args:
            floors: by the name of the metric, such as `val/fvd_random`.
        """
        self.show({key_of(k) + FLOOR: v for k, v in floors.items()}, step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass  # config.yaml holds them

    @abstractmethod
    def resume_at(self, step: int, shown: int) -> None:
        """The run goes on from a checkpoint.

        Args:
            step: of the checkpoint.
            shown: the last step that the run had come to.
        """

    @abstractmethod
    def show(self, values: dict[str, float], step: int) -> None:
        """Values by key at a generator step; called in one process."""

    @abstractmethod
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        """Samples of one evaluation, always of the same latents or sources: `files` maps mp4, gif and png to paths."""


class WandbDashboard(Dashboard):
    """W&B; offline when there is no key.

    The run's id lies in its folder. A resumed run says nothing about steps that were shown before it was interrupted:
    W&B can only append. Videos are encoded before they are handed over, because encoding inside wandb needs a package
    that pins half the world.

    Args:
        run: the run folder; wandb's own files go into `<run>/wandb`.
        config: the nested configuration, logged once.
    """

    STEP = "generator_step"

    def __init__(self, run: Run, config: dict[str, Any]):
        super().__init__(run)
        self._config, self._shown, self._open = config, -1, None

    @property
    def opened(self) -> Any:
        """The `wandb.Run`. (What is called `experiment`, Lightning opens before anything is checked.)"""
        if self._open is None:
            self._open = self._begin()
            self._open.define_metric(self.STEP, hidden=True)
            self._open.define_metric("*", step_metric=self.STEP)
        return self._open

    def _begin(self) -> Any:
        import wandb

        folder = self._run.dir
        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        kept = folder / "wandb" / "run-id.txt"
        known = self._run.resumed and kept.is_file()
        if not known:
            write_text(kept, secrets.token_hex(6))
        mode = _wandb_mode()
        try:
            begun = wandb.init(
                name=f"{folder.parent.name}/{folder.name}",
                id=kept.read_text(encoding="utf-8").strip(),
                dir=folder,
                project=os.environ.get("WANDB_PROJECT", "vidiff"),
                mode=mode,
                resume="allow",
                config=self._config,
                settings=wandb.Settings(silent=True),  # what is to be said, is said below in one line
            )
        except wandb.errors.Error as error:
            raise RunError(
                f"W&B: {first_line(error)}. WANDB_MODE=offline keeps everything in {folder / 'wandb'}"
            ) from error
        offline = f"offline in {folder / 'wandb'}; `wandb sync {folder / 'wandb'}/offline-run-*` uploads it"
        say(f"W&B: {offline if mode == 'offline' else begun.url}")
        return begun

    def resume_at(self, step: int, shown: int) -> None:
        self._shown = shown if (self._run.dir / "wandb" / "run-id.txt").is_file() else -1

    def show(self, values: dict[str, Any], step: int) -> None:
        if step > self._shown:
            self.opened.log({**values, self.STEP: step}, step=step)

    @rank_zero_only
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        import wandb

        if step > self._shown:
            clips, sheet = wandb.Video(str(files["mp4"])), wandb.Image(str(files["png"]))
            self.show({"samples/clips": clips, "samples/sheet": sheet}, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._open is not None:
            self._open.finish(exit_code=0 if status == "success" else 1)


def _wandb_mode() -> str:
    """What WANDB_MODE says; but without a key, in the environment or from `wandb login`, there is no going online."""
    import wandb

    mode = os.environ.get("WANDB_MODE", "online")
    if mode in ("disabled", "offline"):
        return mode
    return "online" if wandb.login(prompt=False, verify=False) else "offline"


class TensorBoardDashboard(Dashboard):
    """TensorBoard, in `<run>/tensorboard`; samples are animated images (its own videos need a further package)."""

    def __init__(self, run: Run):
        super().__init__(run)
        self._purge, self._open, self._charts = None, None, False

    @property
    def opened(self) -> Any:
        """The `SummaryWriter`."""
        if self._open is None:
            from torch.utils.tensorboard import SummaryWriter

            # TensorBoard forgets what earlier files hold of steps from here on: they are made again.
            self._open = SummaryWriter(str(self._run.dir / "tensorboard"), purge_step=self._purge)
        return self._open

    def resume_at(self, step: int, shown: int) -> None:
        self._purge = step + 1

    def show(self, values: dict[str, float], step: int) -> None:
        for key, value in values.items():
            self.opened.add_scalar(key, value, step)

    @rank_zero_only
    def log_floors(self, floors: dict[str, float], step: int) -> None:
        super().log_floors(floors, step)
        if not self._charts:  # the tab `Custom Scalars`
            self._charts = True
            self.opened.add_custom_scalars(charts([key_of(k) for k in floors]))

    @rank_zero_only
    def log_clips(self, files: dict[str, Path], step: int) -> None:
        from PIL import Image
        from tensorboard.compat.proto.summary_pb2 import Summary

        for tag, path in (("samples/clips", files["gif"]), ("samples/sheet", files["png"])):
            with Image.open(path) as picture:
                width, height = picture.size
            image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=path.read_bytes())
            summary = Summary(value=[Summary.Value(tag=tag, image=image)])
            self.opened._get_file_writer().add_summary(summary, step)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._open is not None:
            self._open.close()


def charts(metrics: list[str]) -> dict[str, dict[str, list]]:
    """Charts of several series: the two players side by side, and every metric with its floor.

    Args:
        metrics: keys such as `metric/fvd_random`.
    """
    players = {
        "losses": [r"loss_g/total", r"loss_d/total"],
        "logits": [r"logits/real", r"logits/fake"],
        "gradient norms": [r"gradient_norm/g", r"gradient_norm/d"],
    }
    together = {key.partition("/")[2]: [rf"{key}$", rf"{key}{FLOOR}$"] for key in metrics}
    sections = {"metrics and their floors": together, "G and D": players}
    return {s: {title: ["Multiline", tags] for title, tags in found.items()} for s, found in sections.items()}


def dashboards(kind: str, run: Run, config: dict[str, Any]) -> list[Dashboard]:
    """What is shown beside `metrics.csv`: nothing for `csv`, else one of `wandb` and `tensorboard`.

    Raises:
        UsageError: the package is not installed.
    """
    if kind == "csv":
        return []
    if importlib.util.find_spec(kind) is None:
        raise UsageError(f"--logger {kind} needs the package {kind}: pip install {kind} (metrics.csv works without)")
    return [WandbDashboard(run, config) if kind == "wandb" else TensorBoardDashboard(run)]
