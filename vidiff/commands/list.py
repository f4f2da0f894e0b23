"""List the model families, the shipped experiments, or the settings of a family."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable

from vidiff import catalog


def list_(name: str | None = None, *, json_: bool = False) -> None:
    """List the model families and the shipped experiments, or every setting of a family or of a configuration's part.

    Args:
        name: a family (`wgan_gp` or `WGANGP`), a part of a configuration (model, data, evaluation), or any class that
            a configuration names (`Schedule`); without it, what there is.
        json_: print JSON instead of text.
    """
    if name is not None:
        classes = catalog.described(name)
        _print_json([vars(d) | {"settings": [vars(s) for s in d.settings]} for d in classes]) if json_ else [
            _print_settings(d, first=d is classes[0]) for d in classes
        ]
        return
    families, shipped = catalog.families(), catalog.experiments()
    if json_:
        _print_json({"families": dict(families), "experiments": dict(shipped)})
        return
    parts = [row for row in shipped if row[0].startswith("experiments/ablations/") and "plain" not in row[0]]
    _print_rows("families (vidiff list NAME: its settings)", families)
    _print_rows("experiments (vidiff fit --config NAME)", [row for row in shipped if row not in parts])
    _print_rows("parts and strategies (vidiff fit --config experiments/FAMILY.yaml --config NAME)", parts)


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=2))


def _print_rows(title: str, rows: Iterable[tuple[str, str]]) -> None:
    if rows:
        print(f"{title}:")
    width = max((len(name) for name, _ in rows), default=0)
    for name, about in rows:
        print(f"  {name:<{width}}  {about}")


def _print_settings(found: catalog.Described, first: bool) -> None:
    """One block: what it is, then a row for each setting: name, default, meaning."""
    columns = max(100, min(160, shutil.get_terminal_size((120, 40)).columns))
    if first:
        print(textwrap.fill(found.about, columns))
    title = f"{found.name}: {found.description.splitlines()[0]}" if found.description else f"{found.name}:"
    print(textwrap.fill(title, columns))
    for s in found.settings:
        defaults = [d or "(required)" for d in s.defaults]
        defaults = defaults[:1] if len(set(defaults)) == 1 else defaults
        head = f"  {', '.join(s.names)} = {', '.join(defaults)}"
        print(textwrap.fill(f"{head}  {s.meaning}", columns, subsequent_indent=" " * 6))
