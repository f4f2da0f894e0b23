"""A network that is trained for one style and then restyles a frame in one pass, instead of optimizing each.

Johnson, Alahi, Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer and Super-Resolution" (1603.08155): the
network's results y on training frames minimize the objective of `style_transfer.py`, with the temporal term on pairs of
successive frames as in Ruder, Dosovitskiy, Brox 2018 (1708.04538):

    alpha content(F(y), F(p)) + beta mean_l style(G_l(y), S_l) + gamma TV(y) + delta E M (y_2 - w(y_1))^2

Deviations: the training frames are those of the film that is to be restyled; the network is `FramePainter` of
`nn/resnet.py` with few channels, which begins as a copy. For a network that is to know many films, and everything that
stands around a training (held-out clips, resuming, a report), there is a family: experiments/style.yaml.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from vidiff import keyed
from vidiff.clip import ClipSpec
from vidiff.consistency import StyleWeights, flow_consistency, style_grams, style_terms, within_shots
from vidiff.errors import RunError, UsageError
from vidiff.files import replacing
from vidiff.flow import FlowMethod, backward_flow
from vidiff.inference.jobs import Job
from vidiff.inference.style_steps import Steps
from vidiff.inference.tiles import on_grid
from vidiff.nn.resnet import FramePainter
from vidiff.nn.style_maps import StyleExtractor
from vidiff.optim import Adam
from vidiff.progress import track
from vidiff.video.shots import is_cut

SUFFIX = ".safetensors"
RECORD, STYLE = "vidiff_style_network", "style"  # keys of the header, and of what it holds
WIDTH, RATE = 16, 2e-3
PAIRS = 32  # of successive frames to train on, evenly spread over the films


def style_network() -> nn.Module:
    """A network for frames (N, 3, 1, H, W) in [-1, 1]; its first weights are always the same."""
    with keyed.forked("stylize", "network"):
        return FramePainter(ClipSpec(num_frames=1, width=WIDTH, resolution=64))


def restyle(network: nn.Module, frames: Tensor) -> Tensor:
    """Frames (N, 3, h, w) of any size in [-1, 1] through a `style_network`."""
    return on_grid(frames.unsqueeze(2), network).squeeze(2)  # (N, 3, 1, h, w) and back


def training_pairs(jobs: Sequence[Job], steps: Steps) -> list[Tensor]:
    """Pairs of successive frames (2, 3, h, w) as they will be worked on, up to 32, of all films; cuts are left out.

    Raises:
        RunError: a film cannot be read.
    """
    pairs, each = [], max(1, PAIRS // len(jobs))
    for job in jobs[:PAIRS]:
        reader = job.reader()
        last = max(0, reader.info.num_frames - 2)
        for place in sorted({round(last * (k + 0.5) / each) for k in range(each)}):
            first, second = reader.read([place, min(place + 1, reader.info.num_frames - 1)])
            if is_cut(first, second):
                second = first
            pairs.append(torch.cat([steps.pre_process(first), steps.pre_process(second)]))
    return pairs


def train(
    network: nn.Module,
    extract: StyleExtractor,
    style: list[Tensor],
    pairs: list[Tensor],
    flow: FlowMethod,
    weights: StyleWeights,
    updates: int,
) -> None:
    """Train a `style_network`, a pair of frames an update, at a rate that falls to zero over the second half.

    Args:
        extract: see `style_extractor`.
        style: frames of the style (1, 3, h, w).
        pairs: see `training_pairs`.
        flow: see `flow_method`.
        weights: of the objective.
        updates: how many.
    """
    grams, known = style_grams(extract, style), [_known(pair, extract, flow) for pair in pairs]
    optimizer = Adam(network.parameters(), lr=RATE, beta1=0.9, beta2=0.99)
    for update in track(range(updates), "training for the style"):
        optimizer.param_groups[0]["lr"] = RATE * min(1.0, 2 * (1 - update / updates))
        pair, (content, back, seen) = pairs[update % len(pairs)], known[update % len(pairs)]
        y = restyle(network, pair)
        loss = sum(style_terms(y, extract(y), content, grams, weights).values())
        loss = loss + weights.temporal * flow_consistency(y.transpose(0, 1)[None], back, seen, "mse")  # (1, 3, 2, h, w)
        if not torch.isfinite(loss):
            raise RunError(f"training for the style diverged at update {update}: a smaller strength may help")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _known(pair: Tensor, extract: StyleExtractor, flow: FlowMethod) -> tuple[Tensor, Tensor, Tensor]:
    """Content of a pair, the flow from its second frame to its first (1, 2, 1, h, w), and what was seen in both."""
    back, seen = backward_flow(pair.transpose(0, 1)[None], flow)  # (1, 3, 2, h, w) in
    return extract(pair).content, back, within_shots(seen)


def style_digest(style: Iterable[Tensor]) -> str:
    """A number of a style's frames: a network is used for the style that it was trained for."""
    content = b"".join((frame * 127.5).round().to(torch.int16).cpu().numpy().tobytes() for frame in style)
    return hashlib.sha256(content).hexdigest()


def write_network(path: Path, network: nn.Module, record: dict[str, str]) -> None:
    """Write a trained network with its record, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(save(network.state_dict(), {RECORD: json.dumps(record)}))


def read_network(path: Path, style: str) -> nn.Module:
    """What `write_network` wrote.

    Args:
        path: the file.
        style: the digest that its record must have, see `style_digest`.

    Raises:
        UsageError: it is another kind of file, or of another style.
    """
    try:
        with safe_open(path, "pt") as file:
            record = json.loads((file.metadata() or {}).get(RECORD, "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError):
        record = None
    if not isinstance(record, dict):
        raise UsageError(f"ckpt {path}: no network of `vidiff stylize`; one is written where there is no such file")
    if record.get(STYLE) != style:
        raise UsageError(
            f"ckpt {path}: it was trained for {record.get('name')}, at other settings or another style: name a new file"
        )
    network = style_network()
    expected = network.state_dict()
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in expected.items()}:
        raise UsageError(f"ckpt {path}: its weights are not those of this version's network")
    with torch.no_grad():  # not `load_state_dict`, which takes weights without versions for those of older layers
        for key, weight in expected.items():
            weight.copy_(tensors[key])
    return network
