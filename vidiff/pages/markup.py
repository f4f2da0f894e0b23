"""HTML from functions: whatever is not `Markup` is escaped, so that no setting or name becomes a part of the page."""

from __future__ import annotations

import html
from typing import Any

VOID = ("br", "img", "meta", "input")  # elements without an end


class Markup(str):
    """Text that is HTML already."""


def escaped(value: Any) -> str:
    """A child or the value of an attribute as HTML; control characters, which no page may hold, are replaced."""
    if isinstance(value, Markup):
        return value
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return html.escape("".join(c if c >= " " or c in "\n\t" else "\ufffd" for c in text))


def join(*children: Any) -> Markup:
    """Children one behind the other; None and False are nothing, lists are flattened."""
    parts = []
    for child in children:
        if isinstance(child, list | tuple):
            parts.append(join(*child))
        elif child is not None and child is not False:
            parts.append(escaped(child))
    return Markup("".join(parts))


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element.

    Args:
        name: `p`, `video` ...
        children: see `join`.
        attributes: `class_` is class, `data_x` is data-x; None and False leave one out, True gives it without a value.
    """
    words = [name]
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        if value is True:
            words.append(key)
        elif value is not None and value is not False:
            words.append(f'{key}="{escaped(value)}"')
    start = f"<{' '.join(words)}>"
    return Markup(start if name in VOID else f"{start}{join(*children)}</{name}>")


def table(head: list[Any], rows: list[list[Any]], caption: str = "", classes: list[str] | None = None) -> Markup:
    """A table whose first row and first column are headings; on a narrow screen it scrolls in its own box.

    Args:
        head: the first row.
        rows: the others, the same number of cells.
        caption: what it shows, for those who cannot see where it stands.
        classes: of each row.
    """
    top = tag("tr", *[tag("th", cell, scope="col") for cell in head])
    body = []
    for i, (first, *cells) in enumerate(rows):
        row = [tag("th", first, scope="row"), *[tag("td", cell) for cell in cells]]
        body.append(tag("tr", *row, class_=(classes[i] if classes else None) or None))
    inner = tag("table", tag("caption", caption), tag("thead", top), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)
