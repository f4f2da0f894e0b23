"""The embedded data set `shapes`: moving sprites over drifting backgrounds, rendered from a seed to real mp4 files.

Four motions are the classes; each scene can be painted in four styles with identical geometry, so unpaired training has
paired ground truth. Importing this module does not import torch.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Callable, Iterable, Sequence

import numpy as np

from vidiff.data.shapes.scene import CLASSES, MARKER, VERSION, check_size, render_panorama, render_scene
from vidiff.data.shapes.stereo import render_stereo
from vidiff.errors import RunError, UsageError
from vidiff.progress import track
from vidiff.video import write as media
from vidiff.video.spherical import Frames, Spherical

FPS = 8
SAID = {
    "flat": Spherical(),
    "equirectangular": Spherical("equirectangular"),
    "stereo": Spherical("flat", "left-right"),
}


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two uint8 clips in dB, from the mean squared error over all pixels and frames."""
    error = np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def _stored(out: Path, request: dict) -> dict | None:
    """The record of `out` if it holds exactly what is requested, None if there is nothing, an error otherwise."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    try:
        record = json.loads((out / MARKER).read_text(encoding="utf-8"))
        held = {key: record.get(key) for key in request}
    except (OSError, ValueError, AttributeError):
        raise UsageError(f"{out} exists and is not a shapes data set; choose another folder or remove it") from None
    if held != request:
        changed = ", ".join(f"{k}: {held[k]} there, {request[k]} asked" for k in request if held[k] != request[k])
        raise UsageError(f"{out} holds another shapes data set ({changed}); choose another folder or remove it")
    found = sum(1 for _ in out.rglob("*.mp4"))
    if found != record.get("files"):
        raise UsageError(f"{out} is damaged: {found} videos of {record.get('files')}; remove it and render again")
    return record


def _write(out: Path, request: dict, jobs: Sequence[tuple[str, int, str]], finish: Callable) -> dict:
    """Render jobs (file, scene, style) into a temporary sibling of `out` and put it in place when all is done."""
    stored = _stored(out, request)
    if stored is not None:
        return stored
    temporary = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        temporary.chmod(0o755)
        digest = hashlib.sha256()
        for name, scene, style in track(jobs, "rendering shapes"):
            clip = scene_renderer(request)(request["seed"], scene, style, request["frames"], request["resolution"])
            digest.update(name.encode() + clip.tobytes())
            media.write_mp4(temporary / name, clip, fps=FPS, crf=14, spherical=SAID[_projection(request)])
        record = {**request, "files": len(jobs), "sha256": digest.hexdigest(), **finish()}
        (temporary / MARKER).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        try:
            if out.exists():
                out.rmdir()  # empty, or this fails and nothing is lost
            os.rename(temporary, out)
        except OSError:
            # Somebody else was faster; fine if they made the same.
            stored = _stored(out, request)
            if stored is None:
                raise
            return stored
        return record
    except OSError as error:
        raise RunError(f"{out}: could not write the data set ({error})") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _projection(request: dict) -> str:
    return request.get("projection", "flat")


def scene_renderer(request: dict) -> Callable:
    """What draws a scene of a set: (seed, scene, style, frames, resolution) -> uint8 (T, H, W, 3)."""
    if _projection(request) == "stereo":
        return render_stereo
    if _projection(request) == "flat":
        return lambda seed, scene, style, frames, size: render_scene(seed, scene, style, frames, size)
    return lambda seed, scene, style, frames, size: render_panorama(seed, scene, frames, size, style)


def _request(
    layout: str, videos: int, seed: int, frames: int, resolution: int, styles: Sequence[str], projection: str
) -> dict:
    for style in styles:
        check_size(style, frames, resolution)
    if len(set(styles)) != len(styles) or not styles:
        raise UsageError(f"styles must be different from each other, got {', '.join(styles) or 'none'}")
    if videos < 1 or seed < 0:
        raise UsageError(f"videos must be at least 1 and seed not negative, got {videos} and {seed}")
    sizes = {"videos": videos, "frames": frames, "resolution": resolution, "fps": FPS}
    if projection not in SAID:
        raise UsageError(f"projection must be one of {', '.join(SAID)}, got {projection!r}")
    sizes |= {"projection": projection} if projection != "flat" else {}
    return {"dataset": "shapes", "version": VERSION, "layout": layout, "seed": seed, **sizes, "styles": list(styles)}


def render_dataset(
    out: str | Path,
    videos: int = 240,
    seed: int = 0,
    frames: int = 32,
    resolution: int = 64,
    styles: Iterable[str] = ("plain",),
    projection: Frames = "flat",
) -> dict:
    """Render the labelled data set: `out/<class>/<scene>.mp4`, scenes 0 .. videos - 1, and the record `shapes.json`.

    It appears whole or not at all. If `out` already holds the same it is left as it is. More than one style makes
    an unpaired data set: see `render_domains`.

    Args:
        out: folder to make.
        videos: number of videos, spread evenly over the four classes.
        seed, frames, resolution: see `render_scene`.
        styles: one style (or several: `render_domains`).
        projection: `equirectangular`: all around; `stereo`: two eyes side by side; both twice as wide as high, and the
            files say so.

    Returns:
        The record: `dataset, version, layout, seed, videos, frames, resolution, fps, styles, files, sha256` (over the
        raw pixels, before encoding), `classes` (name -> number of videos).

    Raises:
        UsageError: bad values, or `out` holds something else (which is never touched).
        RunError: it could not be written.
    """
    styles = tuple(styles)
    if len(styles) > 1:
        return render_domains(out, videos, seed, styles, frames, resolution, projection=projection)
    request = _request("classes", videos, seed, frames, resolution, styles, projection)
    motions = [CLASSES[scene % len(CLASSES)] for scene in range(videos)]
    jobs = [(f"{motion}/{scene:05d}.mp4", scene, styles[0]) for scene, motion in enumerate(motions)]
    return _write(Path(out), request, jobs, lambda: {"classes": {c: motions.count(c) for c in CLASSES}})


def render_domains(
    out: str | Path,
    videos: int = 240,
    seed: int = 0,
    styles: Iterable[str] = ("plain", "night"),
    frames: int = 32,
    resolution: int = 64,
    test_videos: int | None = None,
    projection: Frames = "flat",
) -> dict:
    """Render an unpaired data set: a training set for each style, no scene in two of them, and paired test sets.

    Two styles: `trainA trainB testA testB`. More: `train/<style>/`, `test/<style>/`. Files are `<scene>.mp4`; equal
    names in the test folders are the same scene. The motion of a scene is CLASSES[scene % 4].

    Args:
        out, seed, frames, resolution, projection: see `render_dataset`.
        videos: training videos of each style.
        styles: two or more of STYLES, A first.
        test_videos: test scenes, each in every style; default a sixth of `videos`, at least 4.

    Returns:
        The record of `render_dataset` and `test_videos`, `folders` (folder -> style) and `identity_psnr`
        ({"plain-night": dB}): mean over test scenes of the PSNR of the untranslated clip, which a translation has to
        beat.

    Raises:
        UsageError, RunError: as `render_dataset`.
    """
    styles = tuple(styles)
    if len(styles) < 2:
        raise UsageError(f"an unpaired data set needs two styles or more, got {', '.join(styles) or 'none'}")
    request = _request("domains", videos, seed, frames, resolution, styles, projection)
    request["test_videos"] = max(4, videos // 6) if test_videos is None else test_videos
    if request["test_videos"] < 1:
        raise UsageError(f"test_videos must be at least 1, got {test_videos}")
    names = dict(zip(styles, "AB")) if len(styles) == 2 else {style: f"/{style}" for style in styles}
    jobs, folders = [], {}
    tests = range(len(styles) * videos, len(styles) * videos + request["test_videos"])
    for k, style in enumerate(styles):
        for part, scenes in (("train", range(k * videos, (k + 1) * videos)), ("test", tests)):
            folders[part + names[style]] = style
            jobs += [(f"{part}{names[style]}/{scene:05d}.mp4", scene, style) for scene in scenes]

    def finish() -> dict:
        values: dict[str, list[float]] = {f"{a}-{b}": [] for a, b in itertools.combinations(styles, 2)}
        for scene in tests:
            clips = {style: scene_renderer(request)(seed, scene, style, frames, resolution) for style in styles}
            for a, b in itertools.combinations(styles, 2):
                values[f"{a}-{b}"].append(psnr(clips[a], clips[b]))
        return {"folders": folders, "identity_psnr": {pair: round(float(np.mean(v)), 3) for pair, v in values.items()}}

    return _write(Path(out), request, jobs, finish)
