"""The table of doses in metrics.md, from the files that `vidiff sanity --json` writes, one a set of videos.

python docs/dose_table.py embedded=embedded.json Weizmann=weizmann.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def short(value: float) -> str:
    """Two digits, and whole numbers from 10 on."""
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.2g}"


def table(sets: dict[str, dict], metric: str) -> str:
    """Markdown: a row a corruption, a column a set; each cell the five doses, as multiples of the floor
    (of a kernel distance, whose floor is about 0, the values)."""
    results = {name: found["metrics"][metric] for name, found in sets.items()}
    lines = [f"| `{metric}` | {' | '.join(sets)} |", "|---" * (len(sets) + 1) + "|"]
    floors = [f"{r['floor']:.3g}" for r in results.values()]
    held = ["n/a" if r["held_out"] is None else f"**{short(r['held_out'] / r['unit'])}**" for r in results.values()]
    lines.append(f"| floor itself | {' | '.join(floors)} |")
    lines.append(f"| real, held out | {' | '.join(held)} |")
    for corruption in next(iter(results.values()))["corruptions"]:
        cells = [
            ", ".join(short(v / r["unit"]) for v in r["corruptions"][corruption])
            + (" (fails)" if corruption in r["failed"] else "")
            for r in results.values()
        ]
        lines.append(f"| {corruption} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    sets = {name: json.loads(Path(file).read_text()) for name, _, file in (a.partition("=") for a in arguments)}
    clips = {found["clips"] for found in sets.values()}
    videos = ", ".join(f"{name} {'/'.join(map(str, found['videos']))}" for name, found in sets.items())
    print(f"Clips a side: {', '.join(map(str, sorted(clips)))}; videos, reference/held out: {videos}.\n")
    for metric in next(iter(sets.values()))["metrics"]:
        print(table(sets, metric) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
