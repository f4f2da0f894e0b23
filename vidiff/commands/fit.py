"""Training verbs: fit, validate and test, on LightningCLI."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

import jsonargparse
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from vidiff.commands._messages import constructor_message, readable
from vidiff.data.datamodule import ClipDataModule  # noqa: F401  (gives the class its short name)
from vidiff.data.domains import DomainDataModule, PairDataModule  # noqa: F401
from vidiff.errors import RunError, UsageError, first_line, memory_hint
from vidiff.files import read_yaml
from vidiff.models import families
from vidiff.models.base import AdversarialModule
from vidiff.models.translation import Translator
from vidiff.paths import experiments_dir
from vidiff.training.checkpoints import CheckpointFiles, Checkpoints, read_to_continue
from vidiff.training.evaluation import EvaluationOptions
from vidiff.training.generator_evaluation import GeneratorEvaluation
from vidiff.training.loggers.dashboards import dashboards
from vidiff.training.loggers.metrics_csv import MetricsCSV
from vidiff.training.progress import GameProgress
from vidiff.training.run import Run, last_checkpoint, new_run_dir, newest_run
from vidiff.training.run_folder import LateReport, RunFolder
from vidiff.training.summary import Players
from vidiff.training.trainer import check_settings, make_trainer
from vidiff.training.training_log import Spent, TrainingLog
from vidiff.training.translation_evaluation import TranslationEvaluation

LINKED = ("num_frames", "resolution", "channels", "seed")
RUNS = Path("runs")


def _config_files(argv: list[str]) -> list[int]:
    """Positions in argv that hold the value of a `--config`."""
    return [i + 1 for i, a in enumerate(argv[:-1]) if a in ("--config", "-c")]


def _resolve_configs(argv: list[str]) -> list[str]:
    """`--config=X` split in two, and a file that is not here looked up among the shipped experiments."""
    argv = [part for a in argv for part in (a.split("=", 1) if a.startswith("--config=") else [a])]
    for i in _config_files(argv):
        given = Path(argv[i])
        if given.is_file():
            continue
        root = experiments_dir()
        shipped = root / (given.relative_to("experiments") if given.parts[:1] == ("experiments",) else given)
        if not shipped.is_file():
            names = [f"experiments/{p.relative_to(root)}" for p in sorted(root.rglob("*.yaml"))]
            near = difflib.get_close_matches(argv[i], names, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"--config {argv[i]}: no such file.{hint} `vidiff list` shows the experiments.")
        argv[i] = str(shipped)
    return argv


def _experiment_name(argv: list[str]) -> str:
    names = [Path(argv[i]).stem for i in _config_files(argv)]
    return next((n for n in names if not n.startswith("_")), "run")


def _check_linked(argv: list[str], config: Any) -> None:
    """A size that was also set on the model must agree with the data; a silent overwrite would be a lie."""
    given: dict[str, tuple[Any, str]] = {}
    for i in _config_files(argv):
        model = read_yaml(Path(argv[i])).get("model") or {}
        for name in (*LINKED, "num_classes"):
            for place in (model.get("init_args") or {}, model):
                if isinstance(place, dict) and name in place:
                    given[name] = (place[name], f"{argv[i]}: model.{name}")
    for k, a in enumerate(argv):
        match = re.fullmatch(r"--model\.(?:init_args\.)?(\w+)(?:=(.*))?", a)
        if match and match[1] in (*LINKED, "num_classes"):
            value = match[2] if match[2] is not None else argv[k + 1] if k + 1 < len(argv) else None
            given[match[1]] = (yaml.safe_load(str(value)), f"--model.{match[1]}")
    data = config.data.init_args
    for name, (value, where) in given.items():
        expected = config.seed_everything if name == "seed" else data.get(name)
        source = "seed_everything" if name == "seed" else f"data.{name}"
        if value != expected:
            raise UsageError(f"{where}={value} contradicts {source}={expected}: set {source}, the model follows it")


def _seed(value: bool | int) -> int:
    return 0 if isinstance(value, bool) else int(value)


class TrainingCLI(LightningCLI):
    """LightningCLI with linked sizes, layered shipped configurations and a run folder."""

    def __init__(self, argv: list[str], run: Run):
        self.argv, self.run_folder = argv, run
        base = {"default_config_files": [str(experiments_dir() / "_base.yaml")]}
        super().__init__(
            AdversarialModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            args=argv,
            parser_kwargs={
                "prog": "vidiff",
                "allow_abbrev": False,
                "exit_on_error": False,
                "fit": base,
                "validate": base,
                "test": base,
            },
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        skipped = {"model", "dataloaders", "train_dataloaders", "val_dataloaders", "datamodule", "verbose"}
        return {"fit": skipped, "validate": skipped, "test": skipped}

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
        for name in ("num_frames", "resolution", "channels"):
            parser.link_arguments(f"data.init_args.{name}", f"model.init_args.{name}")
        parser.link_arguments("seed_everything", "model.init_args.seed", compute_fn=_seed)
        parser.link_arguments("seed_everything", "data.init_args.seed", compute_fn=_seed)
        parser.link_arguments("data.num_classes", "model.init_args.num_classes", apply_on="instantiate")

    def _parse_ckpt_path(self) -> None:
        """Lightning lets a checkpoint's hyper-parameters override the command line; here the command line wins."""

    def before_instantiate_classes(self) -> None:
        config = self._config
        _check_linked(self.argv, config)
        parser = self.parser._subcommands_action._name_parser_map[self.subcommand]
        kept = config.clone()
        kept.run_dir = kept.ckpt_path = None  # the file describes a run, not where and from what it was started
        self.run_folder.config = parser.dump(kept, skip_none=False)

    def parse_arguments(self, parser, args) -> None:
        try:
            super().parse_arguments(parser, args)
        except jsonargparse.ArgumentError as error:
            known = parser._subcommands_action._name_parser_map.get(self.argv[0], parser)
            names = sorted({a.dest for a in known._actions if "." in a.dest or not a.dest.startswith("_")})
            raise UsageError(readable(str(error), names)) from error
        seed = self.config[self.config.subcommand].seed_everything
        if not isinstance(seed, bool) and not 0 <= seed < 2**32:
            raise UsageError(f"seed_everything must be from 0 to {2**32 - 1}, got {seed}")

    @property
    def _config(self):
        return self.config[self.subcommand]

    def instantiate_classes(self) -> None:
        try:
            super().instantiate_classes()
        except (ValueError, TypeError, MisconfigurationException) as error:
            message = constructor_message(error)
            raise UsageError(message + memory_hint(message)) from error
        given = self._config.model.as_dict()
        self.model.config = {"class_path": given["class_path"], "init_args": given.get("init_args", {})}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        config = self._config
        run = self.run_folder
        settings = {**self._get(self.config_init, "trainer", default={}), **kwargs}
        callbacks = check_settings(settings)
        checkpoints = Checkpoints(run, config.checkpoints.every_n_steps)
        spent = Spent(config.budget_cpu_s)
        kind = TranslationEvaluation if isinstance(self.model, Translator) else GeneratorEvaluation
        evaluation = kind(run, EvaluationOptions(**config.evaluation.as_dict()), checkpoints, spent)
        forced = [RunFolder(run), TrainingLog(), spent, evaluation, checkpoints, LateReport(run, evaluation)]
        if config.trainer.get("enable_progress_bar") is not False:
            forced += [GameProgress(), Players()]
        loggers = [MetricsCSV(run), *dashboards(config.logger, run, yaml.safe_load(run.config))]
        settings["logger"] = loggers
        settings["plugins"] = [CheckpointFiles(run), *_several(settings.get("plugins"))]
        settings["callbacks"] = [*forced, *callbacks]
        settings["use_distributed_sampler"] = False  # ClipLoader shards by itself
        settings["default_root_dir"] = str(run.dir)
        if self.subcommand == "fit":
            # The suite's own evaluation counts as Lightning's validation, see `Evaluation`: never at an epoch's end.
            settings.update(limit_val_batches=0, num_sanity_val_steps=0)
            settings.update(check_val_every_n_epoch=None, val_check_interval=config.evaluation.every_n_steps)
        return make_trainer(settings)

    def _run_subcommand(self, subcommand: str) -> None:
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
            step = f" after generator step {self.trainer.global_step}" if subcommand == "fit" else ""
            error.add_note(f"while running `vidiff {subcommand}`{step}")
            raise


def _several(value: Any) -> list[Any]:
    """One, several or none of something, as Lightning takes them."""
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


def _option(argv: list[str], name: str) -> str | None:
    """The last value given to `--name`, as two words or with `=`."""
    value = None
    for i, a in enumerate(argv):
        if a == f"--{name}" and i + 1 < len(argv):
            value = argv[i + 1]
        elif a.startswith(f"--{name}="):
            value = a.split("=", 1)[1]
    return value


def _without(argv: list[str], name: str) -> list[str]:
    """argv without `--name` and its value."""
    out, skip = [], False
    for a in argv:
        if skip:
            skip = False
        elif a == f"--{name}":
            skip = True
        elif not a.startswith(f"--{name}="):
            out.append(a)
    return out


def _check_folder(folder: Path) -> None:
    """Refuse a run folder that cannot be made or written to."""
    nearest = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not nearest.is_dir():
        raise UsageError(f"--run_dir {folder}: {nearest} is a file, not a folder")
    if not os.access(nearest, os.W_OK):
        raise UsageError(f"--run_dir {folder}: {nearest} cannot be written to")


def _place_run(argv: list[str]) -> tuple[Run, list[str]]:
    """Decide the run folder and which checkpoint is meant; nothing is created yet."""
    experiment = _experiment_name(argv)
    run_dir, ckpt = _option(argv, "run_dir"), _option(argv, "ckpt_path")
    # Set by this process for those that it starts; Lightning gives them their number in LOCAL_RANK.
    launched = os.environ.get("VIDIFF_RUN_DIR") if os.environ.get("LOCAL_RANK", "0") != "0" else None
    if ckpt == "last":
        folder = Path(run_dir) if run_dir else newest_run(RUNS, experiment)
        path = last_checkpoint(folder)
        if not launched:
            print(f"continuing {folder}", file=sys.stderr)
        run_dir, ckpt = str(folder), str(path)
        argv = [*_without(argv, "ckpt_path"), "--ckpt_path", ckpt]
    elif ckpt is not None and not Path(ckpt).exists():
        raise UsageError(f"--ckpt_path {ckpt}: no such file (or use `last`)")
    if ckpt is not None and not launched:
        read_to_continue(Path(ckpt))  # what cannot be read is said before anything else is done
    folder = Path(launched or run_dir or new_run_dir(RUNS, experiment))
    _check_folder(folder)
    resumed = ckpt is not None and Path(ckpt).resolve().is_relative_to(folder.resolve())
    if argv[0] == "fit" and not resumed and not launched:
        Run(folder).check_new()
    os.environ["VIDIFF_RUN_DIR"] = str(folder)
    return Run(folder, resumed), argv


def _quiet() -> None:
    """Silence what Lightning says to everybody and what does not apply here."""
    for text in (
        ".*does not have many workers.*",
        ".*module.s. in eval mode at the start of training.*",  # the moving average, on purpose
        ".*args parameter is intended to run from within Python.*",
        ".*LeafSpec.*is deprecated.*",
        ".*weights_only.*",
    ):
        warnings.filterwarnings("ignore", text)
    noise = ("Tip:", "available: False", "weights_only", "LOCAL_RANK", "Seed set to")
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        for logger in [logging.getLogger(name)]:
            logger.addFilter(lambda record: not any(n in record.getMessage() for n in noise))
            for handler in logger.handlers:
                handler.addFilter(lambda record: not any(n in record.getMessage() for n in noise))


def resolved_config(argv: list[str]) -> str:
    """The configuration that `fit` with these arguments would write to `config.yaml`; nothing is built or written.

    Args:
        argv: includes the verb.

    Raises:
        UsageError: what `fit` would refuse before it builds anything.
    """

    class Resolved(Exception):
        """Raised where `fit` would go on and build."""

    class Resolver(TrainingCLI):
        def instantiate_classes(self) -> None:
            raise Resolved

    families()  # short class names
    run = Run(Path())
    _quiet()
    with contextlib.suppress(Resolved):
        Resolver(_resolve_configs(list(argv)), run)
    return run.config


def run_training(argv: list[str]) -> int:
    """Run `fit`, `validate` or `test`; argv includes the verb."""
    argv = _resolve_configs(list(argv))
    for i in _config_files(argv):
        read_yaml(Path(argv[i]))  # a broken file is named before anything else happens
    families()  # short class names
    models = [(read_yaml(Path(argv[i])).get("model") or {}) for i in _config_files(argv)]
    if not any("class_path" in m or isinstance(m, str) for m in models) and not any(
        a in ("-h", "--help") or re.match(r"--model(=|$)|--model\.class_path", a) for a in argv
    ):
        raise UsageError(
            f"{argv[0]}: no model is named. Give --config experiments/<name>.yaml (`vidiff list`); those in "
            "ablations/ and those whose name starts with _ only add to one"
        )
    run, argv = _place_run(argv)
    _quiet()
    try:
        TrainingCLI(argv, run)
    except jsonargparse.ArgumentError as error:
        raise UsageError(" ".join(str(error).split())) from error
    return 0
