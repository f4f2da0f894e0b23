"""A detector of generated and tampered clips: trained, calibrated, measured, written and read again.

No `LightningModule`: there is one network, one loss and no adversary, so that nothing of the adversarial step applies
and `fit` would need a second kind of training. The loop below is all there is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidiff import __version__, keyed
from vidiff.clip import uint8_to_unit, unit_to_signed
from vidiff.errors import RunError, UsageError, first_line
from vidiff.files import check_suffix, check_writable, replacing
from vidiff.inference.detector_clips import DetectorConfig, LabeledClips
from vidiff.inference.trust import Budget, build, check_names, look_up
from vidiff.metrics.calibration import temperature
from vidiff.nn.detector import ClipDetector
from vidiff.progress import track

SUFFIX, SCHEMA = ".safetensors", "vidiff detector 1"
CHUNK = 32  # clips judged at once


@dataclass
class Detector:
    """A network and what its numbers mean.

    Args:
        network: see `ClipDetector`.
        classes: names, in the order of its logits; the first means that nothing was done.
        num_frames, resolution: of the clips that it was trained on.
        temperature: logits are divided by it.
        record: how the network is built, and how it was trained.
    """

    network: nn.Module
    classes: list[str]
    num_frames: int
    resolution: int
    temperature: float = 1.0
    record: dict[str, Any] | None = None

    @torch.no_grad()
    def judge(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Clips uint8 (N, 3, T, H, W) -> probabilities (N, K) and, for each pixel, that of not being as recorded
        (N, T, H, W)."""
        logits, places = self.logits(clips)
        height, width = clips.shape[3:]
        maps = F.interpolate(places.sigmoid(), (height, width), mode="bilinear")
        return (logits / self.temperature).softmax(1), maps

    @torch.no_grad()
    def logits(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Uncalibrated logits (N, K), and of places (N, T, H / 2, W / 2)."""
        found = [self.network(unit_to_signed(uint8_to_unit(part))) for part in clips.split(CHUNK)]
        return torch.cat([f[0] for f in found]), torch.cat([f[1] for f in found])


def train_detector(config: DetectorConfig, data: LabeledClips, held_out: LabeledClips) -> Detector:
    """Train on some clips; the temperature is set on others.

    The loss is the cross-entropy of the classes, each as often in a batch and of each every source alike, and of the
    places, and for tampered clips one minus the soft overlap (Dice) of the map with the mask. Clips are mirrored at
    random. AdamW; the rate rises over a tenth of the steps and falls to zero with a cosine.

    Raises:
        UsageError: the network is none of the closed set. RunError: the training diverged.
    """
    network = _network(config.network, config.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-2)
    draw, each = keyed.generator(config.seed, "batches"), config.batch_size // len(config.classes)
    groups = [_by_source(data, k) for k in range(len(config.classes))]
    for step in track(range(config.steps), "training the detector"):
        done = step / config.steps
        factor = min(1.0, 10 * done + 0.01) * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * done)).item())
        optimizer.param_groups[0]["lr"] = config.rate * factor
        rows = torch.cat([_drawn(sources, each, draw) for sources in groups])
        clips, masks = unit_to_signed(uint8_to_unit(data.clips[rows])), data.masks[rows]
        for axis in (-1, -2):
            flip = torch.rand(len(rows), generator=draw) < 0.5
            clips = torch.where(flip[:, None, None, None, None], clips.flip(axis), clips)
            masks = torch.where(flip[:, None, None, None], masks.flip(axis), masks)
        logits, places = network(clips)
        loss = F.cross_entropy(logits, data.labels[rows]) + place_loss(places, masks)
        if not torch.isfinite(loss):
            raise RunError(f"the training of the detector diverged at step {step}: a smaller rate may help")
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    network.eval().requires_grad_(False)
    record = {"network": config.network, "config": asdict(config), "version": __version__}
    detector = Detector(network, list(config.classes), config.num_frames, config.resolution, 1.0, record)
    detector.temperature = temperature(detector.logits(held_out.clips)[0], held_out.labels)
    return detector


def _by_source(data: LabeledClips, label: int) -> list[Tensor]:
    """The rows of a class, those of one source together."""
    rows = torch.nonzero(data.labels == label)[:, 0].tolist()
    return [torch.tensor([i for i in rows if data.sources[i] == s]) for s in sorted({data.sources[i] for i in rows})]


def _drawn(sources: list[Tensor], count: int, draw: torch.Generator) -> Tensor:
    """Rows at random, every source as likely as another."""
    picked = [sources[i] for i in torch.randint(len(sources), (count,), generator=draw).tolist()]
    return torch.stack([rows[torch.randint(len(rows), (), generator=draw)] for rows in picked])


def place_loss(places: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy of logits (N, T, H / 2, W / 2) with masks (N, T, H, W), and 1 - Dice where a part is masked."""
    target = F.avg_pool2d(masks, 2)
    loss = F.binary_cross_entropy_with_logits(places, target)
    share = masks.mean((1, 2, 3))
    if (part := (share > 0) & (share < 1)).any():
        p, t = places[part].sigmoid().flatten(1), target[part].flatten(1)
        loss = loss + (1 - (2 * (p * t).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)).mean()
    return loss


def _network(spec: dict[str, Any], seed: int, limit: int = 2**26) -> nn.Module:
    """The network that a configuration or a checkpoint names, of the closed set."""
    check_names(spec)
    cls = look_up(spec["class_path"])
    if not (isinstance(cls, type) and issubclass(cls, ClipDetector)):
        raise UsageError(f"network {spec['class_path']}: no detector; accepted is vidiff.nn.detector.ClipDetector")
    with keyed.forked(seed, "detector"), Budget(limit, 5_000):
        return build(cls, spec.get("init_args", {}))


def write_detector(path: str | Path, detector: Detector) -> None:
    """Write a detector, whole or not at all, as safetensors with its record as metadata."""
    path = Path(path)
    check_output(path)
    record = {
        "schema": SCHEMA,
        "classes": detector.classes,
        "num_frames": detector.num_frames,
        "resolution": detector.resolution,
        "temperature": detector.temperature,
        **(detector.record or {}),
    }
    with replacing(path) as temporary:
        temporary.write_bytes(save(detector.network.state_dict(), {"vidiff_detector": json.dumps(record)}))


def check_output(path: Path) -> None:
    """Raise UsageError where a detector cannot be written under this name."""
    check_suffix(path, SUFFIX)
    check_writable(path)


def read_detector(path: str | Path) -> Detector:
    """What `write_detector` wrote; only networks of the closed set are built, see `vidiff.inference.trust`.

    Raises:
        UsageError: no such file, or another kind of file. RunError: it is damaged, or names what it may not.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"detector {path}: {'a folder' if path.is_dir() else 'no such file'}")
    try:
        with safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {}).get("vidiff_detector", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (OSError, ValueError, SafetensorError):
        record = None
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise UsageError(f"detector {path}: no detector of `vidiff detect train`")
    try:
        sizes = [int(record[name]) for name in ("num_frames", "resolution")]
        classes, heat = [str(name) for name in record["classes"]], float(record["temperature"])
        size = 4 * sum(v.numel() for v in tensors.values()) + 2**20
        network = _network(record["network"], 0, size)
        expected = network.state_dict()
        if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in expected.items()}:
            raise RunError("its weights are not those of its network")
        if not all(v.isfinite().all() for v in tensors.values()) or not heat > 0 or min(sizes) < 4:
            raise RunError("its numbers are damaged")
        network.load_state_dict(tensors)
    except Exception as error:
        why = str(error) if isinstance(error, RunError | UsageError) else first_line(error)
        raise RunError(f"detector {path} cannot be used: {why}") from error
    return Detector(network.eval().requires_grad_(False), classes, *sizes, heat, record)


def scores(detector: Detector, clips: Tensor) -> Tensor:
    """How little each clip looks as recorded: 1 - the probability of the first class, (N,)."""
    return 1 - detector.judge(clips)[0][:, 0]


def overlap(maps: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of maps > 0.5 and masks, (N,); 1 where both are empty."""
    a, b = (maps > 0.5).flatten(1), (masks > 0.5).flatten(1)
    either = (a | b).sum(1)
    return torch.where(either > 0, (a & b).sum(1) / either.clamp(min=1), 1.0)
