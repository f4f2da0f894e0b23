"""A record of tiny runs that a refactoring has to leave equal.

    python tests/equality_record.py record OUT [--only NAME ...]   every family and some overlays, trained and used
    python tests/equality_record.py old OLD_OUT OUT                the checkpoints of OLD_OUT, used by this code
    python tests/equality_record.py compare A B                    the first difference of each, or that all is equal

Run it with PYTHONPATH on the checkout that is to be measured: the package that is imported is the one recorded. Equal
to the bit on one machine only. A run, for each name: `fit` for 8 generator steps on a small embedded set, evaluated at
0, 4 and 8, then `sample` (or `translate`) with its `last.ckpt`, and `fit` again from that for 2 more steps.

Not recorded, as it depends on the hour or on names that may change: `timing.csv` (everything under `time/`, which no
`metrics.csv` holds), `cpu_seconds`, the version and the hash of the configuration in `report.json`, `class_path` and
`checksum` of a checkpoint's record (the weights are hashed one by one), and the states of callbacks and loops in it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

# ---- the vocabulary of the command line: what a renamed option changes is here ---------------------------------------

FIT = (
    "fit --config {experiment} --config experiments/_tiny.yaml --data.root {data} --run_dir {run} --seed_everything 7 "
    "--trainer.max_steps {steps} --trainer.enable_progress_bar false --evaluation.every_n_steps 4 "
    "--evaluation.num_clips 12 --evaluation.metrics fvd_random,kvd_random,motion,diversity "
    "--checkpoints.every_n_steps 4"
)
CONTINUE = f"{FIT} --ckpt_path {{ckpt}}"
SAMPLE = "sample --ckpt {ckpt} --num_clips 5 --seed 3 --output {out}"
TRANSLATE = "translate --ckpt {ckpt} --input {video} --output {out}/translated.mp4"

RENDER = "data make --output {out}"
SETS = {
    "shapes": "--num_videos 24 --seed 0 --num_frames 12 --resolution 32",
    "domains": "--num_videos 12 --seed 0 --num_frames 12 --resolution 32 --styles plain night",
    "styles": "--num_videos 12 --seed 0 --num_frames 12 --resolution 32 --styles plain night cartoon",
    "long": "--num_videos 1 --seed 5 --num_frames 40 --resolution 64",
}

# Translations and the set of each; the others have `shapes`.
TRANSLATIONS = {"cyclegan": "domains", "stargan": "styles", "style": "shapes"}
# More of `fit` for some; the growth, the balance and the stages have to happen within 8 steps of 4 clips.
SETTINGS = {
    "dcgan": "--data.num_workers 2 --model.lr_schedule.kind linear",
    "cyclegan": "--data.num_workers 2",
    "pggan": "--model.fade_clips 8 --model.stable_clips 4",
    "s_ada": "--model.discriminator_augment.init_args.start 0.6 --model.discriminator_augment.init_args.clips 100",
    "s_balance": "--model.balance.interval 2 --model.balance.target 0.6",
    "s_staged": "--model.stages {stages}",
}
STAGES = '[{"steps":3,"players":["g","d"],"weights":{"g_adv":0.5}},{"steps":2,"players":["d"]},{"players":["g","d"]}]'
# How a trained model is used: label -> more of `sample` or `translate`.
SAMPLES = {"average": "", "raw": "--no-ema", "frames": "--seed 4 --batch_size 2"}
USES: dict[str, dict[str, str]] = {
    "dcgan": {**SAMPLES, "files": "--formats mp4 gif png"},
    "d_classes": {**SAMPLES, "labels": "--labels 2 0"},
    "pggan": {**SAMPLES, "stage": "--stage 0"},
    "videogan": {**SAMPLES, "parts": "--parts"},
    "mocogan": {**SAMPLES, "long": "--num_frames 12"},
    "cyclegan": {
        "a2b": "--direction a2b",
        "b2a": "--direction b2a",
        "raw": "--direction a2b --no-ema",
        "window": "--direction a2b --window 25",
        "tile": "--direction b2a --tile 52",
        "compare": "--direction a2b --resolution 24 --compare",
    },
    "style": {"average": "", "raw": "--no-ema", "tile": "--window 25 --tile 52"},
    "stargan": {"to 1": "--target 1", "to name": "--target night", "tile": "--target 0 --window 25 --tile 52"},
}
OVERLAYS = (
    *("s_ada", "s_diffaugment", "s_balance", "s_staged", "s_gradient_penalty", "s_ensemble_d"),
    *("d_classes", "d_speed"),
)

# Names that were changed on purpose, old -> new: of runs, and of any recorded key.
RENAMED = {"ls_gan": "loss_sensitive"}
RENAMED_KEYS: dict[str, str] = {}

# What a launcher or a shell would tell the runs.
FOREIGN = ("VIDIFF_", "WANDB_", "SLURM_", "MASTER_", "TORCHELASTIC_", "LOCAL_", "NODE_RANK", "RANK", "WORLD_")
PROCESSES = 2
SECTIONS = ("metrics", "keys", "weights", "optimizers", "report", "samples", "continued")

Record = dict[str, dict[str, Any]]  # section -> what it holds, by a path in words -> a plain value


# ---- the set, the experiments, one command ---------------------------------------------------------------------------


def experiments() -> dict[str, list[Path]]:
    """Name of a run -> its files: every family's experiment of the imported package, and overlays on a plain one."""
    import vidiff

    root = Path(vidiff.__file__).resolve().parent.parent / "experiments"
    parts = root / "ablations"
    files = {p.stem: [p] for p in sorted(root.glob("[a-z]*.yaml"))}
    return files | {name: [parts / "plain.yaml", parts / f"{name}.yaml"] for name in OVERLAYS}


def command(template: str, more: str = "", **values: Any) -> None:
    """Run one verb in this process."""
    from vidiff.cli import main

    arguments = f"{template} {more}".format(stages=STAGES, **values).split()
    print("$ vidiff", *arguments, flush=True)
    if code := main(arguments):
        raise RuntimeError(f"`vidiff {' '.join(arguments)}` ended with {code}")


def render(folder: Path) -> None:
    """Labelled clips, two and three domains of them for translations, and a longer and larger video."""
    with contextlib.redirect_stdout(io.StringIO()):
        for name, size in SETS.items():
            command(RENDER, size, out=folder / name)


# ---- what is recorded ------------------------------------------------------------------------------------------------


def sha(data: Any) -> str:
    """Names bytes, or an array with its kind and shape."""
    import numpy as np

    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()[:32]
    array = np.ascontiguousarray(data)
    return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()[:32]


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, leaf) of nested dicts, lists and tuples."""
    if isinstance(value, dict | list | tuple) and value:
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def tensor_hash(tensor: Any) -> str:
    import torch

    plain = tensor.detach().cpu().contiguous()
    return f"{plain.dtype} {tuple(plain.shape)} {sha(plain.reshape(-1).view(torch.uint8).numpy().tobytes())}"


def metrics_of(path: Path) -> dict[str, str]:
    """Every cell of a CSV file as it was written."""
    with path.open(newline="") as f:
        reader = csv.DictReader(f)
        cells = {f"step {row['step']} {k}": v for row in reader for k, v in row.items() if not k.startswith("time/")}
        return {"columns": " ".join(reader.fieldnames or [])} | cells


def checkpoint_of(path: Path) -> Record:
    """Keys, weights and optimiser states of a checkpoint."""
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    record = content["vidiff"]
    nested = {f"vidiff.{k}": " ".join(sorted(map(str, v))) for k, v in record.items() if isinstance(v, dict)}
    keys = {
        "checkpoint": " ".join(sorted(content)),
        "vidiff": " ".join(sorted(record)),
        "state_dict": " ".join(content["state_dict"]),
        **nested,
        "global_step": content["global_step"],
        "batches_seen": record["batches_seen"],
    }
    states = {k: tensor_hash(v) if isinstance(v, torch.Tensor) else v for k, v in flat(content["optimizer_states"])}
    weights = {k: tensor_hash(v) for k, v in content["state_dict"].items()}
    return {"keys": keys, "weights": weights, "optimizers": states}


def report_of(path: Path) -> dict[str, float]:
    """The numbers of a report, by the path to each; no settings of the measures, nothing of the hour."""
    report = json.loads(path.read_text(encoding="utf-8"))
    kept = ("metrics", "controls", "directions", "classifier", "position_regressor", "parameters", "checkpoint_step")
    numbers = flat({k: report[k] for k in (*kept, "steps", "batches_seen", "clips_seen") if k in report})
    return {k: v for k, v in numbers if isinstance(v, int | float) and ".protocol." not in k}


def pictures_of(path: Path) -> str:
    """The decoded frames of a video."""
    import av

    with av.open(str(path)) as container:
        pixels = "rgba" if path.suffix == ".mov" else "rgb24"
        frames = [sha(frame.to_ndarray(format=pixels)) for frame in container.decode(video=0)]
    return f"{len(frames)} frames {sha(' '.join(frames).encode())}"


def samples_of(name: str, checkpoint: Path, data: Path, folder: Path) -> dict[str, str]:
    """What a checkpoint makes, in every way that `USES` names."""
    import numpy as np

    made: dict[str, str] = {}
    (video,) = (data / "long").rglob("*.mp4")
    for label, more in USES.get(name, SAMPLES).items():
        out = folder / label.replace(" ", "-")
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        form = "" if name in TRANSLATIONS or "--formats" in more else " --formats npy"
        command(TRANSLATE if name in TRANSLATIONS else SAMPLE, more + form, ckpt=checkpoint, out=out, video=video)
        for path in sorted(out.iterdir()):
            clips = path.suffix == ".npy"
            made[f"{label} {path.name}"] = sha(np.load(path)) if clips else pictures_of(path)
    return made


def continued_of(name: str, checkpoint: Path, data: Path, folder: Path) -> dict[str, str]:
    """Weights after two more steps of training from a checkpoint."""
    shutil.rmtree(folder, ignore_errors=True)
    train(CONTINUE, name, data, folder, steps=10, ckpt=checkpoint)
    return metrics_of(folder / "metrics.csv") | checkpoint_of(folder / "checkpoints" / "last.ckpt")["weights"]


def train(template: str, name: str, data: Path, run: Path, **values: Any) -> None:
    root = data / TRANSLATIONS.get(name, "shapes")
    files = " --config ".join(map(str, experiments()[name]))
    command(template, SETTINGS.get(name, ""), experiment=files, data=root, run=run, **values)


def record_one(name: str, out: Path) -> Record:
    """Train, use and continue one experiment under OUT/NAME."""
    folder, data = out / name, out / "data"
    train(FIT, name, data, folder / "run", steps=8)
    checkpoint = shutil.copy(folder / "run" / "checkpoints" / "last.ckpt", folder / "last.ckpt")
    return {
        "metrics": metrics_of(folder / "run" / "metrics.csv"),
        **checkpoint_of(checkpoint),
        "report": report_of(folder / "run" / "report.json"),
        "samples": samples_of(name, checkpoint, data, folder / "samples"),
        "continued": continued_of(name, checkpoint, data, folder / "continued"),
    }


def use_old(name: str, old: Path, out: Path) -> Record:
    """Samples of an old checkpoint, and its training continued on the old set, by the code of today."""
    before = next(p for p in (old / name, *(old / k for k, v in RENAMED.items() if v == name)) if p.is_dir())
    checkpoint, data = before / "last.ckpt", old / "data"
    samples = samples_of(name, checkpoint, data, out / name / "old-samples")
    return {"samples": samples, "continued": continued_of(name, checkpoint, data, out / name / "old-continued")}


# ---- one process for each name ---------------------------------------------------------------------------------------


def in_process(work: Callable[[str], Record], name: str, folder: Path, result: Path) -> None:
    """`work(name)` with its output in a file; the body of a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    log = os.open(result.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    result.write_text(json.dumps(work(name)))


def run_all(work: Callable[[str], Record], names: Iterable[str], out: Path, stem: str) -> dict[str, Record]:
    """`work` for every name, each in a forked process that knows nothing of the others."""
    import torch

    import vidiff.training.cli  # noqa: F401  (what every process needs, imported once)

    torch.set_num_threads(1)
    context = multiprocessing.get_context("fork")
    waiting, running, records = list(names), {}, {}
    while waiting or running:
        while waiting and len(running) < PROCESSES:
            name = waiting.pop(0)
            result = out / name / f"{stem}.json"
            process = context.Process(target=in_process, args=(work, name, out / name, result))
            process.start()
            running[process.sentinel] = (process, name, result, time.monotonic())
        for sentinel in multiprocessing.connection.wait(list(running)):
            records.update(finished(*running.pop(sentinel)))
    return dict(sorted(records.items()))


def finished(process: BaseProcess, name: str, result: Path, start: float) -> dict[str, Record]:
    """The record of a process that has ended; of one that failed its last words."""
    process.join()
    print(f"{name}: {time.monotonic() - start:.0f} s" + (" FAILED" if process.exitcode else ""), flush=True)
    if not process.exitcode:
        return {name: json.loads(result.read_text())}
    words = result.with_suffix(".log").read_text(errors="replace").strip().splitlines()
    said = [w for w in words if w.startswith("vidiff: error")] or words
    return {name: {"failed": {"said": said[-1] if said else f"exit code {process.exitcode}"}}}


def prepare(out: Path) -> None:
    """A home and a cache in OUT, so that nothing of the user is seen."""
    out.mkdir(parents=True, exist_ok=True)
    for name in [n for n in os.environ if n.startswith(FOREIGN)]:
        del os.environ[name]
    os.environ.update(HOME=str(out / "home"), VIDIFF_CACHE_DIR=str(out / "cache"), OMP_NUM_THREADS="1")
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


def chosen(only: list[str], known: Iterable[str]) -> list[str]:
    """The names asked for, by their old or new name; the slowest first."""
    known = list(known)
    wanted = {RENAMED.get(n, n) for n in only} or {RENAMED.get(n, n) for n in known}
    if unknown := wanted - {RENAMED.get(n, n) for n in known}:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    return sorted((n for n in known if RENAMED.get(n, n) in wanted), key=lambda n: n not in TRANSLATIONS)


def record(out: Path, only: list[str], backwards: bool) -> int:
    prepare(out)
    names = chosen(only, experiments())
    for name in (*names, "data", "cache"):  # what another version kept must not answer for this one
        shutil.rmtree(out / name, ignore_errors=True)
    render(out / "data")
    records = run_all(lambda name: record_one(name, out), names[::-1] if backwards else names, out, "record")
    (out / "record.json").write_text(json.dumps(records, indent=1))
    return report_failures(records)


def use_all_old(old: Path, out: Path, only: list[str]) -> int:
    prepare(out)
    before = json.loads((old / "record.json").read_text())
    present = {RENAMED.get(n, n) for n in before}
    names = [n for n in chosen(only, experiments()) if RENAMED.get(n, n) in present]
    records = run_all(lambda name: use_old(name, old, out), names, out, "old")
    (out / "old.json").write_text(json.dumps(records, indent=1))
    return print_comparison(before, records, ("samples", "continued"), only)


def report_failures(records: dict[str, Record]) -> int:
    for name, made in records.items():
        if "failed" in made:
            print(f"{name} failed: {made['failed']['said']}")
    return int(any("failed" in made for made in records.values()))


# ---- comparing -------------------------------------------------------------------------------------------------------


def renamed(values: dict[str, Any]) -> dict[str, Any]:
    """The same with today's names, in keys and in lists of keys."""

    def today(text: Any) -> Any:
        return " ".join(RENAMED_KEYS.get(w, w) for w in text.split(" ")) if isinstance(text, str) else text

    return {today(k): today(v) for k, v in values.items()}


def first_difference(a: dict[str, Any], b: dict[str, Any]) -> str | None:
    """The first key with other values, and both; of long lists of names only those that one side lacks."""
    for key in [*a, *(k for k in b if k not in a)]:
        if key not in a or key not in b or a[key] != b[key]:
            one, two = (repr(v[key]) if key in v else "missing" for v in (a, b))
            if max(len(one), len(two)) > 200:
                left, right = (str(v[key]).split() if key in v else [] for v in (a, b))
                one, two = ([w for w in x if w not in y][:8] for x, y in ((left, right), (right, left)))
            return f"{key}: {one} | {two}"
    return None


def summary(section: str, values: dict[str, Any]) -> str:
    rows = len({k.split(" ")[1] for k in values if k.startswith("step ")})
    return f"{section} {rows} rows equal" if section == "metrics" else f"{section} {len(values)} equal"


def compare_one(a: Record, b: Record, sections: Iterable[str]) -> tuple[str, list[str]]:
    """A line in words, and the first difference of each section that differs."""
    words, differences = [], []
    for section in sections:
        one, two = renamed(a[section]), renamed(b[section])
        if difference := first_difference(one, two):
            words.append(f"{section} DIFFER")
            differences.append(f"{section}: {difference}")
        else:
            words.append(summary(section, one))
    return " | ".join(words), differences


def lacks(side: dict[str, Record], name: str) -> str | None:
    """Why there is nothing to compare."""
    if name not in side:
        return "one side has no such run"
    return f"failed: {side[name]['failed']['said']}" if "failed" in side[name] else None


def print_comparison(
    a: dict[str, Record], b: dict[str, Record], sections: Iterable[str] = SECTIONS, only: Iterable[str] = ()
) -> int:
    a, b = ({RENAMED.get(n, n): r for n, r in side.items()} for side in (a, b))
    wanted, bad = {RENAMED.get(n, n) for n in only}, 0
    for name in sorted(n for n in a.keys() | b.keys() if not wanted or n in wanted):
        if lacking := [words for side in (a, b) if (words := lacks(side, name))]:
            line, differences = "NOT COMPARED", lacking
        else:
            line, differences = compare_one(a[name], b[name], sections)
        print(f"{name:<20} {line}")
        for difference in differences:
            print(f"{'':<20} {difference}")
        bad += bool(differences)
    print(f"{bad} differ" if bad else "all equal")
    return int(bad > 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, folders in (("record", ["out"]), ("old", ["old_out", "out"]), ("compare", ["a", "b"])):
        sub = verbs.add_parser(verb)
        for folder in folders:
            sub.add_argument(folder, type=lambda text: Path(text).resolve())
        sub.add_argument("--only", nargs="+", default=[], metavar="NAME")
        if verb == "record":
            sub.add_argument("--backwards", action="store_true", help="in the other order: it must not matter")
    args = parser.parse_args()
    if args.verb == "record":
        return record(args.out, args.only, args.backwards)
    if args.verb == "old":
        return use_all_old(args.old_out, args.out, args.only)
    a, b = (json.loads((side / "record.json").read_text()) for side in (args.a, args.b))
    return print_comparison(a, b, only=args.only)


if __name__ == "__main__":
    sys.exit(main())
