"""Trains the networks behind `recognizable` and sets their thresholds: python -m vidiff.training.recognizer OUT.

Scenes of other seeds than the embedded set's; rendered, written to files and read as its videos are. Under two
minutes of one core. The weights of the package were made by this file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor

from vidiff import keyed
from vidiff.data.shapes.render import render_dataset
from vidiff.data.shapes.scene import render_scene, scene_truth
from vidiff.files import replacing
from vidiff.metrics.recognizable import PARTS, SIZES, Recognizer
from vidiff.metrics.sprites import MOTIONS, SHAPES, SIDE, STRIDE, MotionNamer, SpriteFinder
from vidiff.progress import say, track
from vidiff.training import sprite_damage as damage
from vidiff.video.pyav import PyAVReader

TRAIN_SEED, CALIBRATION_SEED = 1001, 1002
FRAMES = 32  # of a rendered scene
USUAL = 0.05  # quantile of single real frames that `usual` is
PASS = 0.95  # share of real clips that pass


class Scenes(NamedTuple):
    """Rendered scenes; of a second sprite that is not there the shape is -1.

    Args:
        frames: uint8 (S, T, 3, 32, 32), as they are read from files.
        backs: the same without sprites.
        where: x, y, radius in pixels (S, T, 2, 3).
        shapes: int64 (S, 2).
    """

    frames: Tensor
    backs: Tensor
    where: Tensor
    shapes: Tensor


def tracks_of(seed: int, scene: int, frames: int) -> tuple[Tensor, list[int]]:
    """x, y, radius of the sprites (T, 2, 3) in pixels, zeros for none, and their shapes."""
    truth = scene_truth(seed, scene, frames, SIDE)
    out = np.zeros((frames, 2, 3), np.float32)
    count = len(truth["shapes"])
    out[:, :count, :2], out[:, :count, 2] = truth["positions"], truth["radii"]
    shapes = [SHAPES.index(name) for name in truth["shapes"]]
    return torch.from_numpy(out), [*shapes, -1][:2]


def scenes(seed: int, count: int, backs: bool = True) -> Scenes:
    """`count` scenes in files of 64 pixels, read at 32."""
    frames, empty, where, shapes = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        render_dataset(Path(folder) / "shapes", videos=count, seed=seed, frames=FRAMES)
        files = sorted((Path(folder) / "shapes").rglob("*.mp4"), key=lambda path: path.name)
        for scene, path in enumerate(track(files, "reading")):
            frames.append(PyAVReader(path).read(range(FRAMES), SIDE, SIDE))
            if backs:
                empty.append(render_scene(seed, scene, frames=FRAMES, resolution=SIDE, sprites=False))
            place, names = tracks_of(seed, scene, FRAMES)
            where.append(place)
            shapes.append(names)

    def stacked(videos: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(videos)).permute(0, 1, 4, 2, 3).contiguous()

    return Scenes(stacked(frames), stacked(empty or frames), torch.stack(where), torch.tensor(shapes))


class Batch(NamedTuple):
    """Frames (B, 3, 32, 32) in [-1, 1] and what should be found: x, y, radius (B, 2, 3), shapes (B, 2), and of each
    sprite its grade (B, 2): 1 to be found, 0 not, 0.5 not judged."""

    frames: Tensor
    where: Tensor
    shapes: Tensor
    grade: Tensor


def draw_batch(known: Scenes, size: int, draw: torch.Generator) -> Batch:
    """Real frames, slightly varied, of which two thirds are damaged in one of many ways."""
    scene = torch.randint(0, len(known.frames), (size,), generator=draw)
    time = torch.randint(0, known.frames.shape[1], (size,), generator=draw)
    frames = known.frames[scene, time].float() / 127.5 - 1
    backs = known.backs[scene, time].float() / 127.5 - 1
    where, shapes = known.where[scene, time].clone(), known.shapes[scene]
    shift = (torch.rand(size, 2, generator=draw) - 0.5) * 5
    frames, backs = (damage.brought_to(f, torch.zeros(size, 2), shift) for f in (frames, backs))
    where[..., :2] += shift[:, None]
    grade = torch.ones(size, 2)
    groups = torch.arange(size).chunk(16)  # 0-4 as they are, 5-10 damaged all over or around, 11-14 replaced, 15 empty
    for number, rows in enumerate(groups):
        if 5 <= number < 11:
            frames[rows], grade[rows] = _damaged(frames[rows], backs[rows], where[rows], number % 2 == 0, draw)
        elif 11 <= number < 15:
            other = torch.randint(0, size, (len(rows),), generator=draw)
            others = damage.brought_to(frames[other], where[other, 0, :2], where[rows, 0, :2])
            frames[rows] = _replaced(number, frames[rows], backs[rows], others, where[rows, 0], draw)
            grade[rows, 0] = 0.0
            if number == 12:  # the other frame brought its own second sprite along
                grade[rows, 1] = torch.where(grade[rows, 1] == 1, 0.5, grade[rows, 1])
        elif number == 15:
            frames[rows], grade[rows] = _empty(backs[rows], draw), 0.0
    gain = 1 + 0.06 * torch.randn(size, 3, 1, 1, generator=draw) * torch.rand(size, 1, 1, 1, generator=draw)
    dim = 0.06 * torch.randn(size, 1, 1, 1, generator=draw) * torch.rand(size, 1, 1, 1, generator=draw)
    grain = torch.randn(frames.shape, generator=draw) * 0.04 * torch.rand(size, 1, 1, 1, generator=draw)
    return Batch((frames * gain + dim + grain).clamp(-1, 1), where, shapes, grade)


def _damaged(frames: Tensor, backs: Tensor, where: Tensor, everywhere: bool, draw: torch.Generator):
    """All over, or around the first sprite only."""
    out, grade = damage.damaged(frames.clamp(-1, 1), backs, where[:, 0, 2], draw)
    if everywhere:
        return out, grade[:, None].expand(-1, 2)
    mask = damage.discs(where[:, 0, :2], 1.5 * where[:, 0, 2] + 1)[:, None]
    return frames * (1 - mask) + out * mask, torch.stack([grade, torch.ones_like(grade)], 1)


def _replaced(number: int, frames: Tensor, backs: Tensor, others: Tensor, where: Tensor, draw: torch.Generator):
    centre, radius = where[:, :2], where[:, 2]
    if number == 11:  # half a sprite
        near = damage.discs(centre, 1.4 * radius + 1)[:, None]
        return damage.halves(frames, frames * (1 - near) + backs * near, centre, radius, draw)
    if number == 12:  # half of one, half of another
        return damage.halves(frames, others, centre, radius, draw)
    near = damage.discs(centre, 1.4 * radius + 1)[:, None]
    clean = frames * (1 - near) + backs * near
    inside = damage.blobs(frames, clean, centre, radius, draw)
    return inside


def _empty(backs: Tensor, draw: torch.Generator) -> Tensor:
    """Backgrounds, and colored noise of any scale."""
    cells = int(torch.randint(2, 24, (1,), generator=draw))
    noise = damage.smooth_noise(len(backs), 3, SIDE, cells, draw) * 0.5
    return torch.where((torch.rand(len(backs), generator=draw) < 0.5)[:, None, None, None], backs, noise)


def finder_loss(heads: Tensor, batch: Batch) -> Tensor:
    """Focal loss of the heat maps as in CenterNet, and L1 of log radius and offsets at the centres."""
    n, _, h, w = heads.shape
    shapes = len(SHAPES)
    cells = (batch.where[..., :2] + 0.5) / STRIDE
    index = cells.floor().long()
    inside = ((index >= 0) & (index < w)).all(-1) & (batch.shapes >= 0)
    axis = torch.arange(w) + 0.5
    gap = (axis - cells[..., 0, None])[..., None, :].square() + (axis - cells[..., 1, None])[..., :, None].square()
    size = (batch.where[..., 2] / STRIDE)[..., None, None]
    bump = torch.exp(-0.5 * gap / (0.25 * size).clamp_min(0.6).square())  # (N, 2, h, w)
    found = inside & (batch.grade == 1)
    unsure = (batch.shapes >= 0) & (batch.grade == 0.5)
    wanted, weight = torch.zeros(n, shapes, h, w), torch.ones(n, 1, h, w)
    rows = torch.arange(n)
    for i in range(2):
        name = batch.shapes[:, i].clamp_min(0)
        wanted[rows, name] = torch.maximum(wanted[rows, name], bump[:, i] * found[:, i, None, None])
        weight = weight * ~(unsure[:, i, None, None] & (gap[:, i] < (1.5 * size[:, i] + 1).square()))[:, None]
    peak = torch.zeros(n, shapes, h, w)
    ids = found.nonzero()
    r, i = ids[:, 0], ids[:, 1]
    x, y = index[r, i, 0], index[r, i, 1]
    peak[r, batch.shapes[r, i], y, x] = 1.0
    logits = heads[:, :shapes]
    p = logits.sigmoid()
    positive = -peak * (1 - p).square() * F.logsigmoid(logits)
    negative = -(1 - peak) * (1 - wanted) ** 4 * p.square() * F.logsigmoid(-logits)
    count = max(len(r), 1)
    box = heads[r, shapes:, y, x]
    target = torch.cat([batch.where[r, i, 2:].log(), cells[r, i] - index[r, i] - 0.5], 1)
    return ((positive + negative) * weight).sum() / count + 0.5 * F.l1_loss(box, target)


def train_finder(known: Scenes, steps: int, batch_size: int = 64, seed: int = 0) -> SpriteFinder:
    """A finder that is a function of the arguments."""
    with keyed.forked(seed, "finder"):
        network = SpriteFinder().to(memory_format=torch.channels_last)  # a quarter faster on a CPU
    network.head[1].bias.data[: len(SHAPES)] = -3.0
    draw = keyed.generator(seed, "finder", "batches")
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.15)
    mean = 0.0
    for step in range(steps):
        batch = draw_batch(known, batch_size, draw)
        loss = finder_loss(network(batch.frames), batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        mean += 0.02 * (loss.item() - mean)
        if step % 100 == 99:
            say(f"finder: step {step + 1}, loss {mean:.3f}")
    return network.eval().requires_grad_(False)


LENGTHS = ((16, 1), (8, 2), (16, 2), (12, 1), (10, 1), (8, 1), (24, 1), (32, 1), (8, 4))  # frames and stride


def wrong_tracks(tracks: Tensor, draw: torch.Generator) -> Tensor:
    """Tracks (N, T, 3) that are no motion of the set, made of those that are."""
    n, t, _ = tracks.shape
    kind = torch.randint(0, 9, (n,), generator=draw)[:, None, None]
    other = tracks.roll(1, 0)
    still = tracks[torch.arange(n), torch.randint(0, t, (n,), generator=draw)][:, None].expand(n, t, 3)
    time = torch.linspace(0, 1, t)[None, :, None]
    drift = torch.tensor([14.0, 14.0, 3.0]) * torch.randn(n, 1, 3, generator=draw)
    waves = torch.zeros(n, t, 3)
    for k in range(1, 5):
        size = torch.tensor([6.0, 6.0, 1.5]) * torch.randn(n, 1, 3, generator=draw) / k**0.5
        waves = waves + size * torch.sin(3.1416 * k * time + 6.3 * torch.rand(n, 1, 3, generator=draw))
    order = torch.rand(n, t, generator=draw).argsort(1)
    shuffled = tracks.gather(1, order[..., None].expand(-1, -1, 3))
    cut = (time > 0.3 + 0.4 * torch.rand(n, 1, 1, generator=draw)).float()
    centre = tracks.mean(1, keepdim=True)
    walk = torch.randn(n, t, 3, generator=draw).cumsum(1) * torch.tensor([1.5, 1.5, 0.4])
    rough = torch.randn(n, t, 3, generator=draw) * torch.tensor([2.5, 2.5, 0.9])
    made = [still, still + drift * time, centre + waves, shuffled, tracks * (1 - cut) + other * cut]
    made += [centre + (tracks - centre) * 0.4 * torch.rand(n, 1, 1, generator=draw), still + walk, tracks + rough]
    made.append((tracks + other) / 2)
    out = tracks
    for k, wrong in enumerate(made):
        out = torch.where(kind == k, wrong, out)
    out[..., 2] = out[..., 2].clamp_min(1.5)
    return out


def train_namer(steps: int, scenes: int = 1500, batch_size: int = 256, seed: int = 0) -> MotionNamer:
    """A namer of motions that is a function of the arguments; it sees what the renderer knows, no pixels."""
    length = 64
    bank = torch.stack([tracks_of(TRAIN_SEED, scene, length)[0] for scene in range(scenes)])  # (S, 64, 2, 3)
    with keyed.forked(seed, "namer"):
        network = MotionNamer()
    draw = keyed.generator(seed, "namer", "batches")
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        count, stride = LENGTHS[step % len(LENGTHS)]
        scene = torch.randint(0, scenes, (batch_size,), generator=draw)
        start = torch.randint(0, length - (count - 1) * stride, (batch_size,), generator=draw)
        times = start[:, None] + stride * torch.arange(count)
        which = torch.randint(0, 2, (batch_size,), generator=draw)
        which = torch.where(bank[scene, 0, 1, 2] > 0, which, 0)
        tracks, labels = bank[scene[:, None], times, which[:, None]], scene % len(MOTIONS)
        wrong = torch.rand(batch_size, generator=draw) < 0.45
        tracks = torch.where(wrong[:, None, None], wrong_tracks(tracks.clone(), draw), tracks)
        labels = torch.where(wrong, len(MOTIONS), labels)
        size = torch.tensor([0.5, 0.5, 0.35]) * torch.rand(batch_size, 1, 1, generator=draw)
        tracks = tracks + torch.randn(tracks.shape, generator=draw) * size
        loss = F.cross_entropy(network(tracks, stride), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 1000 == 999:
            say(f"namer: step {step + 1}, loss {loss.item():.3f}")
    return network.eval().requires_grad_(False)


def calibrate(recognizer: Recognizer, known: Scenes) -> float:
    """Set `usual`, then the thresholds, so that PASS of the real clips pass all parts: of each motion and part the same
    quantile.

    Returns:
        That quantile.
    """
    recognizer.usual.zero_()
    tracks, _, _ = recognizer.statistics(known.frames.transpose(1, 2))
    size = torch.bucketize(tracks.where[..., 2].contiguous(), torch.tensor(SIZES))
    for k in range(len(SIZES) + 1):
        for column, values in enumerate((tracks.named, tracks.margin)):
            recognizer.usual[k, column] = values[size == k].quantile(USUAL)
    numbers, motions = [], []
    for count, stride in ((16, 1), (8, 2)):
        for start in range(0, FRAMES - count * stride + 1, 8):
            clips = known.frames[:, start : start + count * stride : stride].transpose(1, 2)
            _, motion, values = recognizer.statistics(clips, stride)
            numbers.append(values)
            motions.append(motion)
    numbers, motions = torch.cat(numbers), torch.cat(motions)
    low, high = 0.0, 1 - PASS
    for _ in range(20):
        middle = (low + high) / 2
        for m in range(len(MOTIONS)):
            for p in range(len(PARTS)):
                recognizer.least[m, p] = numbers[motions == m, p].quantile(middle)
        share = (numbers >= recognizer.least[motions]).all(1).float().mean()
        low, high = (middle, high) if share > PASS else (low, middle)
    return low


def main(out: str, scenes_count: int = 400, steps: int = 450) -> None:
    """Render, train, calibrate, write OUT (safetensors)."""
    recognizer = Recognizer().eval()
    recognizer.namer = train_namer(3000)
    recognizer.finder = train_finder(scenes(TRAIN_SEED, scenes_count), steps)
    write(recognizer, Path(out))
    quantile = calibrate(recognizer, scenes(CALIBRATION_SEED, 120, backs=False))
    say(f"quantile {quantile:.4f} of each part, thresholds {recognizer.least}")
    write(recognizer, Path(out))


def write(recognizer: Recognizer, path: Path) -> None:
    """Weights in half precision, thresholds in single."""
    state = {k: v for k, v in recognizer.state_dict().items() if not k.endswith("num_batches_tracked")}
    state = {k: v if k in ("least", "usual") else v.half() for k, v in state.items()}
    with replacing(path) as temporary:
        temporary.write_bytes(save({k: v.contiguous() for k, v in state.items()}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
