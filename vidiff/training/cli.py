"""What `fit`, `validate` and `test` parse and build: LightningCLI with linked sizes, layered files and a run folder."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from vidiff.configs import ConfigFile, read_config
from vidiff.data.datamodule import ClipDataModule  # noqa: F401  (gives the class its short name)
from vidiff.data.domains import DomainDataModule, PairDataModule  # noqa: F401
from vidiff.errors import RunError, UsageError, first_line, memory_hint
from vidiff.models import families
from vidiff.models.module import VideoModule
from vidiff.models.restorer import Restorer
from vidiff.models.stylizer import StyleTranslator
from vidiff.models.translation import Translator
from vidiff.paths import experiments_dir
from vidiff.training.checkpoints import CheckpointFiles, Checkpoints
from vidiff.training.dashboards import dashboards
from vidiff.training.doctor import Doctor
from vidiff.training.evaluation import EvaluationOptions
from vidiff.training.generator_evaluation import GeneratorEvaluation
from vidiff.training.loggers import MetricsCSV
from vidiff.training.messages import constructor_message, own_message, readable, worker_killed
from vidiff.training.page import Page
from vidiff.training.progress import GameProgress
from vidiff.training.restoration_evaluation import RestorationEvaluation
from vidiff.training.run import Run
from vidiff.training.run_folder import RunFolder, place_run
from vidiff.training.stopping import StopInOrder
from vidiff.training.style_evaluation import StyleEvaluation
from vidiff.training.summary import Players
from vidiff.training.trainer import check_settings, make_trainer, quiet, several
from vidiff.training.training_log import Spent, TrainingLog
from vidiff.training.translation_evaluation import TranslationEvaluation

LINKED = ("num_frames", "resolution", "channels", "projection", "seed", "num_classes")


class _ReadConfig(jsonargparse.ActionConfigFile):
    """`--config FILE`, read by `read_config`."""

    def __call__(self, parser, cfg, values, option_string=None):
        parser.configs.append(read_config(values))
        super().__call__(parser, cfg, str(parser.configs[-1].path), option_string)


class _Parser(LightningArgumentParser):
    """Keeps every file of `--config`, in `configs`."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.configs: list[ConfigFile] = []

    def add_argument(self, *args: Any, **kwargs: Any):
        if kwargs.get("action") is jsonargparse.ActionConfigFile:
            kwargs["action"] = _ReadConfig
        return super().add_argument(*args, **kwargs)

    def parse_path(self, path: str | os.PathLike, *args: Any, **kwargs: Any) -> jsonargparse.Namespace:
        """What `_ReadConfig` has read just now, in the place of what lies at the path."""
        file = self.configs[-1]
        return self.parse_string(yaml.safe_dump(file.content, sort_keys=False), file.name, *args, **kwargs)


def _seed(value: bool | int) -> int:
    return 0 if isinstance(value, bool) else int(value)


class TrainingCLI(LightningCLI):
    """Parses, builds and runs; with `build=False` it only parses, for `resolved`.

    Args:
        verb: fit, validate or test.
        words: what follows it on the command line.
        build: whether to build what the words describe and to run it.

    Attributes:
        resolved: the whole configuration as `config.yaml` has it.
        run_folder: where the run goes.

    Raises:
        UsageError, RunError: in one line, what cannot be.
    """

    def __init__(self, verb: str, words: Sequence[str], build: bool = True):
        self.verb, self.words, self.build = verb, list(words), build
        self.resolved, self.run_folder = "", Run(Path())
        families()  # short class names
        quiet()
        super().__init__(
            VideoModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            args=[verb, *self.words],
            parser_class=_Parser,
            parser_kwargs={
                "prog": "vidiff",
                "allow_abbrev": False,
                "exit_on_error": False,
                verb: {"default_config_files": [str(experiments_dir() / "_base.yaml")]},
            },
        )

    def subcommands(self) -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "train_dataloaders", "val_dataloaders", "datamodule", "verbose"}
        return {self.verb: skipped}  # the parsers of the other two would be built for nothing

    def add_arguments_to_parser(self, parser) -> None:
        parser.add_argument("--run_dir", type=str | None, default=None, help="folder of this run (default: runs/...)")
        parser.add_argument(
            "--logger", type=Literal["csv", "wandb", "tensorboard"], default="csv",
            help="dashboards beside metrics.csv, which is always written",
        )  # fmt: skip
        parser.add_class_arguments(EvaluationOptions, "evaluation")
        parser.add_argument("--checkpoints.every_n_steps", type=int, default=250, help="generator steps")
        parser.add_argument(
            "--budget_cpu_s", type=float | None, default=None, help="stop after this many CPU seconds of process 0"
        )
        parser.add_argument("--budget_clips", type=int | None, default=None, help="stop after this many training clips")
        parser.add_argument(
            "--budget_gpu_s", type=float | None, default=None, help="stop after this many seconds times GPUs"
        )
        for name in ("num_frames", "resolution", "channels", "projection"):
            parser.link_arguments(f"data.init_args.{name}", f"model.init_args.{name}")
        parser.link_arguments("seed_everything", "model.init_args.seed", compute_fn=_seed)
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=_seed)
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")

    def parse_arguments(self, parser, args) -> None:
        try:
            super().parse_arguments(parser, args)
        except (jsonargparse.ArgumentError, UsageError) as error:
            raise UsageError(own_message(error) or self._why(str(error))) from error
        seed = self._config.seed_everything
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise UsageError(f"seed_everything must be from 0 to {2**32 - 1}, got {seed}")

    def _why(self, message: str) -> str:
        """jsonargparse's message for a person; that no model was named comes out of it as an abstract class."""
        parser = self._parser(self.verb)
        named = any("class_path" in file.section("model") for file in parser.configs)
        if not named and re.search(r"VideoModule|LightningDataModule|required: .*\.model\b", message):
            before = f" before {parser.configs[-1].name}" if parser.configs else ""
            return (
                f"{self.verb}: no model is named{before}: put --config EXPERIMENT before its overlays (`vidiff list`); "
                "files whose name starts with _ only add to one"
            )
        names = sorted({a.dest for a in parser._actions if "." in a.dest or not a.dest.startswith("_")})
        return readable(message, names)

    def _parse_ckpt_path(self) -> None:
        """Lightning lets a checkpoint's hyper-parameters override the command line; here the command line wins."""

    @property
    def _config(self) -> jsonargparse.Namespace:
        return self.config[self.verb]

    def before_instantiate_classes(self) -> None:
        self._check_linked()
        kept = self._config.clone()
        kept.run_dir = kept.ckpt_path = None  # the file describes a run, not where and from what it was started
        self.resolved = self._parser(self.verb).dump(kept, skip_none=False)

    def _check_linked(self) -> None:
        """A size that was also set on the model must agree with the data; a silent overwrite would be a lie."""
        given: dict[str, tuple[Any, str]] = {}
        for file in self._parser(self.verb).configs:
            section = file.section("model")["init_args"]
            given |= {n: (section[n], f"{file.name}: model.{n}") for n in LINKED if n in section}
        options = argparse.ArgumentParser(argument_default=argparse.SUPPRESS, add_help=False, allow_abbrev=False)
        for name in LINKED:
            options.add_argument(f"--model.{name}", f"--model.init_args.{name}", dest=name, type=yaml.safe_load)
        for name, value in vars(options.parse_known_args(self.words)[0]).items():
            given[name] = (value, f"--model.{name}")
        for name, (value, where) in given.items():
            source = "seed_everything" if name == "seed" else f"data.{name}"
            expected = self._config.seed_everything if name == "seed" else self._config.data.init_args.get(name)
            if value != expected:
                raise UsageError(f"{where}={value} contradicts {source}={expected}: set {source}, the model follows it")

    def instantiate_classes(self) -> None:
        if not self.build:
            return
        config = self._config
        names = [Path(file.name).stem for file in self._parser(self.verb).configs]
        experiment = next((n for n in names if not n.startswith("_")), "run")
        self.run_folder, config.ckpt_path = place_run(self.verb, experiment, config.run_dir, config.ckpt_path)
        self.run_folder.config = self.resolved
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, MisconfigurationException) as error:
            message = constructor_message(error)
            raise UsageError(message + memory_hint(message)) from error
        given = config.model.as_dict()
        self.model.config = {"class_path": given["class_path"], "init_args": given.get("init_args", {})}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config, run = self._config, self.run_folder
        settings = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        settings["callbacks"] = [*self._callbacks(), *check_settings(settings)]
        settings["logger"] = [MetricsCSV(run), *dashboards(config.logger, run, yaml.safe_load(self.resolved))]
        settings["plugins"] = [CheckpointFiles(run), *several(settings.get("plugins"))]
        settings["use_distributed_sampler"] = False  # ClipLoader shards by itself
        settings["default_root_dir"] = str(run.dir)
        if self.verb == "fit":
            # The suite's own evaluation counts as Lightning's validation, see `Evaluation`: never at an epoch's end.
            settings.update(limit_val_batches=0, num_sanity_val_steps=0)
            settings.update(check_val_every_n_epoch=None, val_check_interval=config.evaluation.every_n_steps)
        return make_trainer(settings)

    def _callbacks(self) -> list[Callback]:
        """What belongs to every run, in front of the user's callbacks (an overlay replaces lists)."""
        config, run = self._config, self.run_folder
        checkpoints = Checkpoints(run, config.checkpoints.every_n_steps)
        spent = Spent(config.budget_cpu_s, config.budget_clips, config.budget_gpu_s)
        kinds = {Restorer: RestorationEvaluation, StyleTranslator: StyleEvaluation, Translator: TranslationEvaluation}
        kind = next((k for base, k in kinds.items() if isinstance(self.model, base)), GeneratorEvaluation)
        evaluation = kind(run, EvaluationOptions(**config.evaluation.as_dict()), checkpoints, spent)
        callbacks = [RunFolder(run), TrainingLog(), spent, evaluation, Doctor(run), checkpoints, Page(run)]
        callbacks.append(StopInOrder(checkpoints))
        if config.trainer.get("enable_progress_bar") is not False:
            callbacks += [GameProgress(config.evaluation.every_n_steps, spent), Players()]
        return callbacks

    def _run_subcommand(self, subcommand: str) -> None:
        if not self.build:
            return
        try:
            super()._run_subcommand(subcommand)
        except MisconfigurationException as error:
            raise UsageError(" ".join(str(error).split())) from error
        except (UsageError, RunError):
            raise
        except Exception as error:
            if restoring := self.run_folder.restoring:
                raise RunError(
                    f"--ckpt_path {restoring} is damaged or of another training: {first_line(error)}"
                ) from error
            if worker_killed(error):
                raise RunError(
                    "a data worker died (out of memory, or a decoder crashed). Try fewer workers; --ckpt_path last "
                    "continues"
                ) from error
            step = f" after generator step {self.trainer.global_step}" if subcommand == "fit" else ""
            error.add_note(f"while running `vidiff {subcommand}`{step}")
            raise


def resolved_config(arguments: Sequence[str]) -> str:
    """The configuration that `fit` with these arguments would write to `config.yaml`; nothing is built or written.

    Args:
        arguments: what `vidiff` is called with, the verb first.

    Raises:
        UsageError: what `fit` would refuse before it builds anything.
    """
    verb, *words = arguments
    return TrainingCLI(verb, words, build=False).resolved
