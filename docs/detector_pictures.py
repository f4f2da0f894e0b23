"""Draws the pictures of a detector: `python docs/detector_pictures.py DETECTOR.safetensors`, its report beside it.

`detector_reliability.png` from the report, `detector_map.png` from an embedded scene that is tampered with here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from make_pictures import FOLDER, FONT, INK, PAPER
from PIL import Image, ImageDraw

from vidiff import keyed
from vidiff.augment.tamper import KINDS, tamper
from vidiff.clip import clip_to_thwc
from vidiff.files import replacing
from vidiff.inference.detect import overlaid
from vidiff.inference.detector import Detector, read_detector
from vidiff.inference.detector_clips import encoded, scenes

SIDE, EDGE, COLORS = 240, 46, {"network": (0, 121, 107), "baseline": (200, 120, 30)}
FIRST, SEED, SCALE, SHOWN = 0, 4001, 3, 8  # scene, seed of no training set, enlargement, frames of a row


def reliability_picture(report: dict) -> Image.Image:
    """Share of right answers over the confidence, a panel a method; the size of a dot is the number of clips."""
    methods = [name for name in COLORS if name in report]
    page = Image.new("RGB", (len(methods) * (SIDE + EDGE) + EDGE, SIDE + 2 * EDGE), PAPER)
    draw = ImageDraw.Draw(page)
    for number, name in enumerate(methods):
        left, top = EDGE + number * (SIDE + EDGE), EDGE

        def at(x: float, y: float, left=left, top=top) -> tuple[float, float]:
            return left + x * SIDE, top + (1 - y) * SIDE

        draw.rectangle([*at(0, 1), *at(1, 0)], outline=INK)
        draw.line([*at(0, 0), *at(1, 1)], fill=(170, 170, 170))
        rows = report[name]["reliability"]
        total = sum(count for count, _, _ in rows)
        for count, confidence, right in rows:
            x, y = at(confidence, right)
            r = 3 + 14 * (count / total) ** 0.5
            draw.ellipse([x - r, y - r, x + r, y + r], fill=COLORS[name])
        draw.text((left, top - 22), f"{name}: error {report[name]['ece']:.3f}", INK, FONT)
        draw.text((left, top + SIDE + 6), "0    confidence    1", INK, FONT)
    draw.text((6, 6), "right answers over confidence, held-out clips", INK, FONT)
    return page


def map_picture(detector: Detector) -> Image.Image:
    """A segment and a region: tampered frames, what was foreign, what the detector doubts."""
    size = (detector.num_frames, detector.resolution, detector.resolution)
    clips = scenes("plain", [FIRST, FIRST + 1], SEED, size)
    changed, masks = tamper(clips, scenes("plain", [FIRST + 6, FIRST + 7], SEED, size), list(KINDS), keyed.generator(3))
    changed = encoded(changed, keyed.generator(1))
    _, maps = detector.judge(changed)
    picked = np.linspace(0, size[0] - 1, SHOWN).round().astype(int)
    rows = []
    for clip, mask, found in zip(changed, masks, maps):
        frames = clip_to_thwc(clip)[picked]
        for shown in (None, mask[picked], found[picked]):
            rows.append(np.concatenate(list(frames if shown is None else overlaid(frames, shown)), axis=1))
    width, height = rows[0].shape[1] * SCALE, rows[0].shape[0] * SCALE
    page = Image.new("RGB", (width + 90, len(rows) * (height + 4)), PAPER)
    for n, (row, title) in enumerate(zip(rows, ["segment", "foreign", "doubted", "region", "foreign", "doubted"])):
        page.paste(Image.fromarray(row).resize((width, height), Image.Resampling.NEAREST), (90, n * (height + 4)))
        ImageDraw.Draw(page).text((6, n * (height + 4) + height // 2 - 8), title, INK, FONT)
    return page


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = Path(sys.argv[1])
    pictures = {
        "detector_reliability.png": reliability_picture(json.loads(path.with_suffix(".json").read_text())),
        "detector_map.png": map_picture(read_detector(path)),
    }
    for name, picture in pictures.items():
        with replacing(FOLDER / name) as temporary:
            picture.quantize(255).save(temporary, format="PNG", optimize=True)
        print(name, (FOLDER / name).stat().st_size)
