"""An invisible watermark, trained: a writer and a reader on one side, a judge of what can be seen on the other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidiff import __version__, keyed
from vidiff.augment.attacks import attacked, per_frame, uniform
from vidiff.clip import thwc_to_clip
from vidiff.configs import find_experiment
from vidiff.data.shapes.scene import STYLES, render_scene
from vidiff.errors import RunError, UsageError, at_least, first_line, unknown_name
from vidiff.files import check_suffix, check_writable, read_yaml, replacing
from vidiff.losses import relativistic_d, relativistic_g
from vidiff.nn.watermark import Watermark, WatermarkJudge
from vidiff.penalties import r1_penalty
from vidiff.progress import track

SUFFIX, SCHEMA = ".safetensors", "vidiff watermark 1"
LARGEST_BITS, LARGEST_WIDTH = 256, 128
R1_EVERY = 8
JUDGED = 48  # pixels of the part of a clip that the judge sees: it looks for texture, not for content


@dataclass(frozen=True)
class WatermarkConfig:
    """How a watermark is trained: the keys of a file in experiments/watermarks.

    Args:
        bits: of a message.
        width: channels of the networks.
        psnr: of marked frames in training, dB.
        scenes: embedded ones to train on, in all styles.
        resolution, num_frames: of them.
        textures: share of the clips that are drifting 1/f noise instead: what no scene shows.
        steps, batch_size, rate: of the training.
        adversarial_weight, r1: of the judge: its weight for the writer, and of its penalty.
        seed: of weights, clips and messages.
    """

    bits: int = 32
    width: int = 16
    psnr: float = 37.5
    scenes: int = 96
    resolution: int = 96
    num_frames: int = 8
    textures: float = 0.3
    steps: int = 1500
    batch_size: int = 4
    rate: float = 0.002
    adversarial_weight: float = 0.02
    r1: float = 1.0
    seed: int = 0

    def __post_init__(self):
        at_least(1, bits=self.bits, width=self.width, scenes=self.scenes, steps=self.steps, batch_size=self.batch_size)
        at_least(2, num_frames=self.num_frames)
        at_least(32, resolution=self.resolution)
        if self.bits > LARGEST_BITS or self.width > LARGEST_WIDTH:
            raise UsageError(f"bits may be up to {LARGEST_BITS} and width up to {LARGEST_WIDTH}")
        if not 20 <= self.psnr <= 60:
            raise UsageError(f"psnr must be from 20 to 60 dB, got {self.psnr}")
        if not 0 <= self.textures <= 1:
            raise UsageError(f"textures must be from 0 to 1, got {self.textures}")


def read_watermark_config(path: str | Path) -> WatermarkConfig:
    """The configuration of a file, or of a shipped one: `experiments/watermarks/NAME.yaml`.

    Raises:
        UsageError: no such file, not YAML, an unknown key, or a value that cannot be.
    """
    found = find_experiment(path)
    if found is None:
        raise UsageError(f"{path}: no such file; a shipped one is experiments/watermarks/shapes.yaml")
    content, known = read_yaml(found), [f.name for f in fields(WatermarkConfig)]
    if odd := [key for key in content if key not in known]:
        raise UsageError(f"{path}: {unknown_name('key', str(odd[0]), known)}")
    try:
        return WatermarkConfig(**content)
    except (UsageError, TypeError) as error:
        raise UsageError(f"{path}: {' '.join(str(error).split())}") from error


def textures(count: int, size: tuple[int, int, int], draw: torch.Generator) -> Tensor:
    """Noise of spectrum 1/f^a that drifts, uint8 (count, 3, *size): statistics of pictures without any object."""
    frames, height, width = size
    fy, fx = torch.fft.fftfreq(height) * height, torch.fft.rfftfreq(width) * width
    radius = (fy[:, None].square() + fx[None].square()).sqrt().clamp_min(1)
    clips = []
    for _ in range(count):
        noise = torch.fft.rfft2(torch.randn(3, height, width, generator=draw)) / radius ** uniform(draw, 0.7, 1.8)
        image = torch.fft.irfft2(noise, (height, width))
        image = image / image.std((1, 2), keepdim=True)
        image = torch.einsum("dc,chw->dhw", torch.eye(3) * uniform(draw, 0.1, 1) + 1, image)
        image = 0.5 + uniform(draw, -0.2, 0.2) + uniform(draw, 0.03, 0.2) * image / image.std()
        dy, dx = (uniform(draw, -2, 2) for _ in range(2))
        clips.append(torch.stack([image.roll((round(dy * t), round(dx * t)), (1, 2)) for t in range(frames)], 1))
    return (torch.stack(clips).clamp(0, 1) * 255).round().byte()


def training_clips(config: WatermarkConfig) -> Tensor:
    """Embedded scenes in all styles, and textures, uint8 (N, 3, T, H, W)."""
    size, seed = (config.num_frames, config.resolution, config.resolution), keyed.key(config.seed, "scenes") % 2**31
    count = config.scenes - round(config.textures * config.scenes)
    made = [
        thwc_to_clip(render_scene(seed, n, STYLES[n % len(STYLES)], config.num_frames, config.resolution))
        for n in track(range(count), "rendering scenes")
    ]
    noise = textures(config.scenes - count, size, keyed.generator(config.seed, "textures")) if config.textures else None
    return torch.cat([torch.stack(made)] * bool(made) + [noise] * (noise is not None and len(noise) > 0))


def _batch(clips: Tensor, config: WatermarkConfig, draw: torch.Generator) -> Tensor:
    """Clips in [0, 1]: windows of scenes at another scale, half of the frames, mirrored at random."""
    rows = torch.randint(len(clips), (config.batch_size,), generator=draw)
    x = clips[rows].float() / 255
    frames, side = max(2, config.num_frames // 2), config.resolution
    start = int(torch.randint(config.num_frames - frames + 1, (), generator=draw))
    window = round(side * uniform(draw, 0.6, 1.0) / 2) * 2
    top, left = (int(torch.randint(side - window + 1, (), generator=draw)) for _ in range(2))
    x = x[:, :, start : start + frames, top : top + window, left : left + window]
    size = round(uniform(draw, 48, 96) / 4) * 4
    x = per_frame(lambda f: F.interpolate(f, (size, size), mode="bicubic", antialias=True).clamp(0, 1), x)
    return x.flip(4) if float(torch.rand((), generator=draw)) < 0.5 else x


def messages(count: int, bits: int, draw: torch.Generator) -> Tensor:
    """Messages (count, bits) of -1 and 1 at random."""
    return torch.randint(2, (count, bits), generator=draw) * 2.0 - 1.0


def marked_clips(mark: Watermark, clips: Tensor, bits: Tensor, psnr: float) -> Tensor:
    """Clips (B, 3, T, H, W) in [0, 1] with a message (B, K) of -1 and 1 in every frame of each."""
    repeated = bits.repeat_interleave(clips.shape[2], 0)
    return per_frame(lambda frames: mark(frames, repeated, psnr), clips)


def read_clips(mark: Watermark, clips: Tensor) -> Tensor:
    """Logits (B, T, K) of every frame of clips (B, 3, T, H, W)."""
    b, c, t, h, w = clips.shape
    return mark.reader(clips.transpose(1, 2).reshape(b * t, c, h, w)).reshape(b, t, -1)


def message_loss(logits: Tensor, bits: Tensor) -> Tensor:
    """Cross-entropy of the bits (B, K) with logits (B, T, K): half of single frames, half of their mean."""
    target = (bits + 1) / 2
    single = F.binary_cross_entropy_with_logits(logits, target[:, None].expand_as(logits))
    return 0.5 * (single + F.binary_cross_entropy_with_logits(logits.mean(1), target))


def train_watermark(config: WatermarkConfig, say: Callable[[str], None] = lambda text: None) -> Watermark:
    """Train a watermark: the reader to read what is left after an attack, the writer for that and to fool the judge.

    The game is relativistic, clip against its own marked version (1807.00734), with R1 every eighth step. The energy of
    what is added is fixed by the PSNR, so that the judge only moves it to where it is seen least. Adam; the rate falls
    to zero with a cosine.

    Raises:
        RunError: the training diverged.
    """
    with keyed.forked(config.seed, "watermark"):
        mark, judge = Watermark(config.bits, config.width, config.seed), WatermarkJudge(config.width)
    clips, draw = training_clips(config), keyed.generator(config.seed, "training")
    players = [torch.optim.Adam(net.parameters(), lr=config.rate, betas=(0.9, 0.99)) for net in (mark, judge)]
    wrong = 0.5
    for step in track(range(config.steps), "training the watermark"):
        for optimizer in players:
            optimizer.param_groups[0]["lr"] = config.rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
        real = _batch(clips, config, draw)
        bits = messages(len(real), config.bits, draw)
        fake = marked_clips(mark, real, bits, config.psnr)
        if config.adversarial_weight:
            parts = _part(torch.cat([real, fake]), draw)
            seen, hidden = parts[: len(real)].detach(), parts[len(real) :]
            _move(judge, players[1], _judge_loss(judge, seen, hidden.detach(), config.r1 * (step % R1_EVERY == 0)))
        logits = read_clips(mark, attacked(fake, draw))
        loss = message_loss(logits, bits)
        if config.adversarial_weight:
            loss = loss + config.adversarial_weight * relativistic_g(judge(seen), judge(hidden))
        _move(mark, players[0], loss)
        wrong += 0.02 * (float(((logits.mean(1) > 0) != (bits > 0)).float().mean()) - wrong)
        if step % 100 == 99:
            say(f"step {step + 1}: bits wrong after an attack {wrong:.4f}")
    return mark.eval().requires_grad_(False)


def _part(clips: Tensor, draw: torch.Generator) -> Tensor:
    """The same two frames and JUDGED x JUDGED pixels of every clip."""
    top, left = (int(torch.randint(side - JUDGED + 1, (), generator=draw)) for side in clips.shape[3:])
    return clips[:, :, :2, top : top + JUDGED, left : left + JUDGED]


def _judge_loss(judge: nn.Module, real: Tensor, fake: Tensor, r1: float) -> Tensor:
    loss = relativistic_d(judge(real), judge(fake))
    return loss + 0.5 * r1 * R1_EVERY * r1_penalty(judge, real) if r1 else loss


def _move(network: nn.Module, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step of one player."""
    if not torch.isfinite(loss):
        raise RunError("the training of the watermark diverged: a smaller rate may help")
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def write_mark(path: str | Path, mark: Watermark, config: WatermarkConfig) -> None:
    """Write a watermark, whole or not at all, as safetensors in bfloat16 with its record as metadata."""
    path = Path(path)
    check_mark_output(path)
    record = {"schema": SCHEMA, "config": asdict(config), "version": __version__}
    with replacing(path) as temporary:
        tensors = {k: v.bfloat16() if v.ndim > 1 else v for k, v in mark.state_dict().items()}
        temporary.write_bytes(save(tensors, {"vidiff_watermark": json.dumps(record)}))


def check_mark_output(path: Path) -> None:
    """Raise UsageError where a watermark cannot be written under this name."""
    check_suffix(path, SUFFIX)
    check_writable(path)


def read_mark(path: str | Path) -> tuple[Watermark, WatermarkConfig]:
    """What `write_mark` wrote, ready for use.

    Raises:
        UsageError: no such file, or another kind of file. RunError: it is damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"watermark {path}: {'a folder' if path.is_dir() else 'no such file'}")
    record: Any = None
    try:
        with safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {}).get("vidiff_watermark", "null"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
    except (OSError, ValueError, SafetensorError):
        pass
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise UsageError(f"watermark {path}: no watermark of `vidiff watermark train`")
    try:
        config = WatermarkConfig(**record["config"])
        mark = Watermark(config.bits, config.width, config.seed)
        if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in mark.state_dict().items()}:
            raise RunError("its weights are not those of its network")
        if not all(v.isfinite().all() for v in tensors.values()):
            raise RunError("its numbers are damaged")
        mark.load_state_dict(tensors)
    except Exception as error:
        why = str(error) if isinstance(error, RunError | UsageError) else first_line(error)
        raise RunError(f"watermark {path} cannot be used: {why}") from error
    return mark.eval().requires_grad_(False), config
