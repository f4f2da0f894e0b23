"""Write one HTML page that shows runs: clips, measures, curves."""

from __future__ import annotations

from pathlib import Path


def report(runs: list[Path], *, output: Path | None = None) -> None:
    """Write one HTML page that shows a run, or up to eight side by side; it needs no server and no network.

    Args:
        runs: run folders, finished or not.
        output: the file; None: report.html in the folder of a single run, and here for several.
    """
    from vidiff.pages import write_page

    print(write_page(runs, output))
