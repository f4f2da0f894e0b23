"""List the model families and the shipped experiments."""

from __future__ import annotations

import argparse
import ast
import json
from pathlib import Path

from vidiff.paths import experiments_dir


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def families() -> list[tuple[str, str]]:
    """(class name, first line of the file) of every family, read from the source: nothing heavy is imported."""
    folder = Path(__file__).resolve().parent.parent / "models"
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[a-z]*.py"))]
    classes = [(n.name, {b.id for b in n.bases if isinstance(b, ast.Name)}, t)
               for t in trees for n in t.body if isinstance(n, ast.ClassDef)]  # fmt: skip
    known, found = {"AdversarialModule"}, {}
    while new := [(name, tree) for name, bases, tree in classes if bases & known and name not in known]:
        for name, tree in new:
            known.add(name)
            found[name] = (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")
    return sorted(found.items(), key=lambda row: row[0].lower())


def experiments() -> list[tuple[str, str]]:
    """(path, first comment line) of every experiment that `fit --config` takes; overlays start with `_`."""
    root, found = experiments_dir(), []
    for path in sorted(root.rglob("*.yaml")):
        relative = path.relative_to(root)
        if path.name.startswith("_") or relative.parts[0] in ("benchmarks", "sweeps"):
            continue
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        found.append((f"experiments/{relative.as_posix()}", first.lstrip("# ").rstrip(".")))
    return found


def run(args: argparse.Namespace) -> int:
    if args.json:
        print(json.dumps({"families": dict(families()), "experiments": dict(experiments())}, indent=2))
        return 0
    shipped = experiments()
    ablations = [row for row in shipped if row[0].startswith("experiments/ablations/")]
    sections = {
        "families": families(),
        "experiments (vidiff fit --config NAME)": [row for row in shipped if row not in ablations],
        "ablations, one part or strategy each, 200 short updates": ablations,
    }
    for title, rows in sections.items():
        if not rows:
            continue
        print(f"{title}:")
        width = max((len(name) for name, _ in rows), default=0)
        for name, about in rows:
            print(f"  {name:<{width}}  {about}")
    return 0
