"""Docstrings as this package writes them, for mkdocstrings: `a, b: meaning` and `a: see X` under `Args:`."""

from __future__ import annotations

import griffe

from vidiff.catalog import sections


class Arguments(griffe.Extension):
    """Gives each name under `Args:` an entry of its own, with the words that it points to."""

    def on_object(self, *, obj: griffe.Object, **kwargs) -> None:
        """Rewrite the docstring of a class or function before it is parsed."""
        if obj.docstring is None or "\nArgs:\n" not in (text := obj.docstring.value):
            return
        description, _, rest = text.partition("\nArgs:\n")
        after = "\n".join(_behind(rest.splitlines()))
        entries = "\n".join(f"    {name}: {meaning}" for name, meaning in sections(text)[1].items())
        obj.docstring.value = f"{description}\nArgs:\n{entries}\n\n{after}"


def _behind(lines: list[str]) -> list[str]:
    """What follows the entries: from the first line that is not indented."""
    return next((lines[i:] for i, line in enumerate(lines) if line and not line.startswith(" ")), [])
