"""The list of files that could not be read, and when there are too many of them."""

from __future__ import annotations

import csv
import io
import warnings
from pathlib import Path
from typing import Any

from vidiff.data.index import Index
from vidiff.errors import RunError, listed
from vidiff.files import write_text


class BadFiles:
    """The files that could not be read, counted in the main process; stops the run when they are too many.

    Args:
        total: files that there are.
        max_fraction: share of bad files above which `add` raises.
    """

    def __init__(self, total: int, max_fraction: float = 0.1):
        self.total, self.max_fraction = total, max_fraction
        self.files: dict[str, dict[str, Any]] = {}

    @classmethod
    def of_index(cls, index: Index, max_fraction: float) -> BadFiles:
        """The files that an index could not measure, with a warning.

        Raises:
            RunError: they are too many.
        """
        total = len(index.entries) + len(index.bad)
        bad = cls(total, max_fraction)
        for path, reason in index.bad:
            bad.add(index.root / path, reason, found="index")
        if index.bad:
            names = listed([f"{path}: {reason}" for path, reason in index.bad], 5)
            warnings.warn(f"{len(index.bad)} of {total} files cannot be used:{names}", stacklevel=3)
        bad.check()
        return bad

    def add(self, path: Path | str, reason: str, found: str = "decode") -> None:
        """Count a failure; the first one of a file is a warning.

        Args:
            path: the file.
            reason: what is wrong.
            found: `index` (while listing) or `decode` (while training or evaluating).
        Raises:
            RunError: more than `max_fraction` of the files are bad.
        """
        row = self.files.setdefault(str(path), {"found": found, "reason": reason, "failures": 0})
        row["failures"] += 1
        if row["failures"] == 1 and found == "decode":
            warnings.warn(f"cannot read {path}: {reason}; other clips take its place", stacklevel=2)
            self.check()

    def check(self) -> None:
        """Raise RunError if the share of bad files is above the limit."""
        if len(self.files) > self.max_fraction * self.total:
            some = listed([f"{path}: {row['reason']}" for path, row in self.files.items()], 5)
            raise RunError(
                f"{len(self.files)} of {self.total} files cannot be read, more than max_bad_fraction="
                f"{self.max_fraction:g} allows:{some}\nRemove or repair them, or raise max_bad_fraction."
            )

    def write(self, path: Path) -> None:
        """Write a CSV with the columns path, found, failures, reason."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["path", "found", "failures", "reason"])
        for name, row in sorted(self.files.items()):
            writer.writerow([name, row["found"], row["failures"], row["reason"]])
        write_text(path, text.getvalue())
