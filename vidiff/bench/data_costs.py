"""What reading and augmenting a clip costs, beside plain references and beside a training step."""

from __future__ import annotations

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import kornia.augmentation as K
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidiff import keyed
from vidiff.augment import Augment, ResizedCrop, SpeedCurve, Splice
from vidiff.augment.pipeline import PRESETS
from vidiff.clip import thwc_to_clip
from vidiff.data.cache import DiskCache, RamCache
from vidiff.data.dataset import ClipDataset
from vidiff.data.index import Entry, Index, build_index
from vidiff.data.sampling import clip_span
from vidiff.errors import UsageError
from vidiff.video.open import open_reader

MOST_VIDEOS = 24  # of a set; each round of the measurement reads a clip of every one
LUMA = (0.299, 0.587, 0.114)


def measure(
    root: Path | None = None,
    num_frames: int = 16,
    resolution: int = 64,
    batch_size: int = 16,
    width: int = 32,
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Costs of reading and of augmenting, as plain values.

    CPU times are of this process with all its threads: they bear other programs on the machine better than the clock.

    Args:
        root: folder of videos; None: the embedded set.
        num_frames: frames of a clip.
        resolution: height and width in pixels.
        batch_size: clips of a batch of the augmentation and of the step.
        width: base channels of the DCGAN of the step.
        seconds: least time for each measurement.
    """
    sizes = dict(num_frames=num_frames, resolution=resolution, batch_size=batch_size, width=width)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with torch.random.fork_rng():
        return sizes | {
            "threads": torch.get_num_threads(),
            "readers": readers(root or embedded(), num_frames, resolution, seconds),
            "augment": {d: augmentation(**sizes, seconds=seconds, device=torch.device(d)) for d in devices},
        }


def embedded() -> Path:
    """The embedded set, rendered if need be."""
    from vidiff.data.datamodule import EMBEDDED_VIDEOS, ClipDataModule
    from vidiff.data.shapes.render import render_dataset

    render_dataset(ClipDataModule.embedded_root, videos=EMBEDDED_VIDEOS)
    return ClipDataModule.embedded_root


def timed(work: Callable[[], Any], seconds: float, device: torch.device | None = None) -> dict[str, float]:
    """Repeat `work` for at least `seconds`, after one run that does not count: milliseconds a run, CPU and clock."""
    wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None
    work()
    wait()
    clock = time.perf_counter()
    cpu = time.process_time()
    runs = 0
    while time.perf_counter() - clock < seconds or runs < 2:
        work()
        runs += 1
    wait()
    return {
        "cpu_ms": 1e3 * (time.process_time() - cpu) / runs,
        "wall_ms": 1e3 * (time.perf_counter() - clock) / runs,
        "runs": runs,
    }


def report(result: dict[str, Any]) -> str:
    """The figures as a table for a person."""
    r = result["readers"]
    size = f"{result['num_frames']}x{result['resolution']}x{result['resolution']}"
    lines = [f"reading clips of {size} from {r['root']} ({r['videos']} videos, {', '.join(r['sizes'][:4])})"]
    lines.append(f"  {'':34}{'CPU ms/clip':>12}{'clips/s':>10}{'x pyav':>10}")
    for name, row in r["ways"].items():
        lines.append(f"  {name:34}{row['cpu_ms_per_clip']:12.3f}{row['clips_per_s']:10.0f}{row['times_pyav']:10.1f}")
    for device, a in result["augment"].items():
        unit = "CPU ms" if a["unit"] == "cpu_ms" else "ms"
        lines.append(f"\naugmenting {result['batch_size']} clips of {size} on {device}, {unit} a batch;")
        lines.append(f"one DCGAN step (width {result['width']}) takes {a['dcgan_step_ms']:.1f}")
        lines.append(f"  {'operator, p=1':18}{'cost':>10}{'plain torch':>13}{'ratio':>8}{'of a step':>11}")
        for name, row in a["operators"].items():
            lines.append(
                f"  {name:18}{row['ms']:10.2f}{row['reference_ms']:13.2f}{row['times_reference']:8.1f}"
                f"{row['of_step']:11.1%}"
            )
        lines.append(f"  {'preset':18}{'as it is':>10}{'of a step':>13}{'p=1':>8}{'of a step':>11}")
        for name, row in a["presets"].items():
            lines.append(
                f"  {name:18}{row['ms']:10.2f}{row['of_step']:13.1%}{row['ms_p1']:8.2f}{row['of_step_p1']:11.1%}"
            )
    return "\n".join(lines)


def readers(root: Path, num_frames: int, resolution: int, seconds: float) -> dict[str, Any]:
    """CPU milliseconds and clips per second for each way of getting a clip as uint8 (C, T, H, W)."""
    index = build_index(root, "auto")
    entries = _comparable(index, num_frames)

    def dataset(decoder: str = "pyav", **options: Any) -> ClipDataset:
        plain = [replace(e, label=None, decoder=decoder) for e in entries]  # class names do not matter here
        return ClipDataset(index.root, plain, num_frames, resolution, on_error="raise", **options)

    ways = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, work in _ways(dataset, Path(folder), with_decord=entries[0].decoder == "decord").items():
            figures = timed(work, seconds)
            ways[name] = {
                "cpu_ms_per_clip": figures["cpu_ms"] / len(entries),
                "clips_per_s": 1e3 * len(entries) / figures["wall_ms"],
            }
    first = next(iter(ways.values()))
    for row in ways.values():
        row["times_pyav"] = first["cpu_ms_per_clip"] / row["cpu_ms_per_clip"]
    sizes = sorted({f"{e.width}x{e.height}" for e in entries})
    return {"root": str(root), "videos": len(entries), "sizes": sizes, "ways": ways}


def _comparable(index: Index, num_frames: int) -> list[Entry]:
    """Some videos that every decoder is tried on: where there are any, those that decord reads exactly as well."""
    entries = [e for e in index.entries if e.num_frames >= clip_span(num_frames, 1)][:MOST_VIDEOS]
    if not entries:
        raise UsageError(f"{index.root} holds no video of {num_frames} frames or more")
    if any(e.kind != "video" for e in entries):
        raise UsageError(f"{index.root}: the decoders are compared on video files, this is {index.layout}")
    return [e for e in entries if e.decoder == "decord"] or entries


def _ways(dataset: Callable[..., ClipDataset], folder: Path, with_decord: bool) -> dict[str, Callable[[], None]]:
    """What is compared, by name; PyAV without a cache is the first."""
    pyav, disk = dataset(), dataset(cache=DiskCache(10**12, folder))
    ways = {
        "pyav, resized while decoding": partial(_read_all, pyav),
        "pyav, full size, resized after": partial(_read_all, pyav, _full_size),
        "pyav, first epoch to disk cache": partial(_first_epoch, dataset, "pyav"),
    }
    if with_decord:
        ways["decord, resized while decoding"] = partial(_read_all, dataset("decord"))
        ways["decord, first epoch to disk cache"] = partial(_first_epoch, dataset, "decord")
    ways["disk cache"] = partial(_read_all, disk)
    ways["ram cache"] = partial(_read_all, dataset(cache=RamCache(10**12)))
    return ways


def _read_all(dataset: ClipDataset, read: Callable[..., Tensor] = lambda data, *key: data[key]["clip"]) -> None:
    """Read a clip of every video; the same at every call, so that a cache is warm after the first one."""
    for video in range(len(dataset)):
        read(dataset, video, video)


def _first_epoch(dataset: Callable[..., ClipDataset], decoder: str) -> None:
    with tempfile.TemporaryDirectory() as empty:
        _read_all(dataset(decoder, cache=DiskCache(10**12, empty)))


def _full_size(dataset: ClipDataset, slot: int, video: int) -> Tensor:
    """Decode at the source's size, then resize and cut each frame with Pillow."""
    from PIL import Image

    entry = dataset.entries[video]
    size = dataset.resolution
    start = keyed.key(dataset.seed, dataset.purpose, "start", slot, 0) % (entry.num_frames - dataset.span + 1)
    frames = open_reader(dataset.path(video), entry.kind, files=entry.files, white=entry.white).read(
        range(start, start + dataset.span)
    )
    side = min(entry.width, entry.height)
    left, top = (entry.width - side) // 2, (entry.height - side) // 2
    box = (left, top, left + side, top + side)
    pictures = [np.asarray(Image.fromarray(f).resize((size, size), Image.Resampling.BILINEAR, box=box)) for f in frames]
    return thwc_to_clip(np.stack(pictures))


def augmentation(
    num_frames: int, resolution: int, batch_size: int, width: int, seconds: float, device: torch.device
) -> dict[str, Any]:
    """Milliseconds a batch of every operator at p=1 beside a reference, of the presets, and of a DCGAN step."""
    clip = keyed.normal(range(batch_size), (3, num_frames, resolution, resolution), "bench")
    clip = (clip * 0.2 + 0.5).clamp(0, 1).to(device)
    kind = "cpu_ms" if device.type == "cpu" else "wall_ms"

    def cost(work: Callable[[], Any]) -> float:
        with torch.no_grad():
            return timed(work, seconds / 3, device)[kind]

    step = timed(training_step(clip, width), seconds, device)[kind]
    operators, presets = {}, {}
    for name, op, reference in references(batch_size, device):
        ours, plain = cost(_pipeline([op], clip)), cost(lambda call=reference: call(clip))
        operators[name] = {"ms": ours, "reference_ms": plain, "times_reference": ours / plain, "of_step": ours / step}
    for name, build in PRESETS.items():
        usual, always = cost(_pipeline(build(), clip)), cost(_pipeline(_certain(build()), clip))
        presets[name] = {"ms": usual, "of_step": usual / step, "ms_p1": always, "of_step_p1": always / step}
    return {"unit": kind, "dcgan_step_ms": step, "operators": operators, "presets": presets}


def _certain(ops: list) -> list:
    for op in ops:
        op.p = 1.0
    return ops


def _pipeline(ops: list, clip: Tensor) -> Callable[[], Tensor]:
    augment = Augment(ops).to(clip.device)
    slots = itertools.count()
    return lambda: augment(clip, key=(0, next(slots)))


def training_step(clip: Tensor, width: int) -> Callable[[], None]:
    """One update of D and one of G of a DCGAN on clips of this size, without a trainer."""
    from vidiff.models.dcgan import DCGAN
    from vidiff.models.turn import Turn

    module = DCGAN(num_frames=clip.shape[2], resolution=clip.shape[-1], width=width).to(clip.device)
    optimizers = dict(zip("gd", module.configure_optimizers()))
    batch = {"clip": clip * 2 - 1, "slot": torch.arange(len(clip))}

    def step() -> None:
        for player, losses in (("d", module.discriminator_losses), ("g", module.generator_losses)):
            turn = Turn(module, player, batch)
            for name, network in module.players.items():
                network.requires_grad_(name == player)
            optimizers[player].zero_grad(set_to_none=True)
            torch.stack([term.reshape(()) for term in losses(turn).values()]).sum().backward()
            optimizers[player].step()

    return step


def references(count: int, device: torch.device) -> Iterator[tuple[str, torch.nn.Module, Callable[[Tensor], Tensor]]]:
    """(name, operator at p=1, plain batched torch code for the same work) of every operator in the presets."""
    u = torch.rand(count, 4, generator=torch.Generator().manual_seed(0)).to(device) - 0.5
    yield "flip", K.RandomHorizontalFlip(p=1.0), lambda x: x.flip(-1)
    yield "color", K.ColorJitter(0.2, 0.2, 0.2, 0.05, p=1.0), lambda x: _color(x, 1 + 0.4 * u[:, :3], 0.1 * u[:, 3])
    yield "resized crop", ResizedCrop((0.7, 1.0), (0.9, 1.1), p=1.0), lambda x: _crop(x, u)
    yield "speed curve", SpeedCurve((0.0, 1.0), p=1.0), lambda x: _warp_time(x, u)
    yield "splice", Splice((0.25, 0.5), p=1.0), lambda x: _splice(x, u)
    yield "blur", K.RandomGaussianBlur((3, 3), (0.1, 1.5), p=1.0), lambda x: _blur(x, u)
    yield "noise", K.RandomGaussianNoise(std=0.03, p=1.0), lambda x: (x + 0.03 * torch.randn_like(x)).clamp(0, 1)


def _color(x: Tensor, factors: Tensor, hue: Tensor) -> Tensor:
    """Brightness, contrast about the clip's mean grey, saturation and hue as one 3x3 matrix a clip, in YIQ."""
    yiq = x.new_tensor([LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112)])
    angle = 2 * math.pi * hue
    saturation = factors[:, 2]
    turn = x.new_zeros(len(x), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 2, 1], turn[:, 1, 2] = saturation * angle.sin(), -saturation * angle.sin()
    matrix = (factors[:, 0] * factors[:, 1])[:, None, None] * (yiq.inverse() @ turn @ yiq)
    grey = torch.einsum("c,bc->b", x.new_tensor(LUMA), x.mean((2, 3, 4))) * factors[:, 0] * (1 - factors[:, 1])
    out = torch.baddbmm(grey[:, None, None], matrix, x.flatten(2))  # (B, 3, 3) @ (B, 3, T*H*W)
    return out.clamp_(0, 1).view_as(x)


def _crop(x: Tensor, u: Tensor) -> Tensor:
    scale = 0.9 + 0.2 * u[:, 0]
    theta = x.new_zeros(len(x), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = scale
    theta[:, :, 2] = 0.2 * u[:, 1:3]
    b, c, t, h, w = x.shape
    grid = F.affine_grid(theta, (b, c * t, h, w), align_corners=False)
    return F.grid_sample(x.reshape(b, c * t, h, w), grid, align_corners=False).view_as(x)


def _warp_time(x: Tensor, u: Tensor) -> Tensor:
    frames = x.shape[2]
    time_ = (frames - 1) * torch.linspace(0, 1, frames, device=x.device) ** (1 + u[:, :1])  # (B, T)
    low = time_.floor().long().clamp(max=frames - 2)
    shape = (len(x), 1, frames, 1, 1)
    index, part = low.view(shape).expand_as(x), (time_ - low).view(shape)
    return torch.lerp(x.gather(2, index), x.gather(2, index + 1), part)


def _splice(x: Tensor, u: Tensor) -> Tensor:
    inside = torch.linspace(-0.5, 0.5, x.shape[2], device=x.device) > u[:, :1]  # (B, T)
    return torch.where(inside[:, None, :, None, None], x.roll(1, 0), x)


def _blur(x: Tensor, u: Tensor) -> Tensor:
    b, c, t, h, w = x.shape
    side = torch.exp(-0.5 / (0.8 + u[:, 0]) ** 2)
    kernel = torch.stack([side, torch.ones_like(side), side], 1) / (1 + 2 * side)[:, None]  # (B, 3)
    kernel = kernel.repeat_interleave(c * t, 0)[:, None]  # (B*C*T, 1, 3)
    planes = F.pad(x.reshape(1, b * c * t, h, w), (1, 1, 1, 1), mode="reflect")
    planes = F.conv2d(planes, kernel[:, :, :, None], groups=b * c * t)
    return F.conv2d(planes, kernel[:, :, None, :], groups=b * c * t).view_as(x)
