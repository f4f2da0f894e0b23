"""Judge whether videos are real, generated or tampered with, and where; train a detector for that."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from vidiff.errors import RunError, listed
from vidiff.progress import say


def train(config: str, *, output: Path, leave_one_out: bool = False) -> None:
    """Train a detector, calibrate it, and measure it beside a baseline on clips that it never saw.

    Args:
        config: experiments/detectors/NAME.yaml, or a file of yours with the same keys.
        output: the detector, ending in .safetensors; its report is written beside it, ending in .json.
        leave_one_out: also train without each family in turn, and measure on its clips.
    """
    from vidiff.files import write_json
    from vidiff.inference.detector import check_output, write_detector
    from vidiff.inference.detector_clips import read_detector_config
    from vidiff.inference.detector_report import report_lines, train_and_measure

    check_output(output)
    detector, report = train_and_measure(read_detector_config(config), leave_one_out, say)
    write_detector(output, detector)
    write_json(output.with_suffix(".json"), report)
    print("\n".join(report_lines(report)))
    print(f"detector in {output}, report in {output.with_suffix('.json')}")


def video(files: list[Path], *, ckpt: Path, output: Path | None = None, json_: bool = False) -> None:
    """Judge videos: probabilities of the classes, over time, and as a red map over the frames where they are doubted.

    Args:
        files: videos.
        ckpt: a detector, written by `vidiff detect train`.
        output: folder for the videos under their maps (default: none are written).
        json_: print a JSON list, with the probabilities of each window of frames.
    """
    from vidiff.inference.detect import detect

    found = detect(files, ckpt, output, say=say)
    if json_:
        print(json.dumps([asdict(one) for one in found], indent=2))
    for one in found:
        if json_ or one.error:
            continue
        named = ", ".join(f"{name} {p:.2f}" for name, p in one.probabilities.items())
        print(f"{one.video}: {named}{f', map in {one.heat}' if one.heat else ''}")
        first = next(iter(one.probabilities))
        worst = min(one.windows, key=lambda window: window[first])
        if len(one.windows) > 1:
            print(f"  least {first}: frames {worst['start']} to {worst['end'] - 1}, {first} {worst[first]:.2f}")
    if failed := [one.error for one in found if one.error]:
        raise RunError(f"{len(failed)} of {len(found)} files could not be judged:{listed(failed)}")
