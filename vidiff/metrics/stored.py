"""What was computed before, on disk under a hash of what it depends on: features of real clips, trained networks."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.files import replacing


def content_key(header: dict) -> str:
    """sha256 of a header's canonical JSON: content and protocol, never a path."""
    return hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save_features(folder: Path, header: dict, ids: Tensor, features: Tensor, shape: tuple[int, int, int]) -> Path:
    """Write ids (N,), features (N, W) and the clip shape (T, H, W) under `folder`, without pickle; returns the file."""
    path = folder / f"{content_key(header)}.npz"
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    with replacing(path) as temporary:
        np.savez(temporary, header=text, ids=ids.numpy(), features=features.numpy(), shape=np.asarray(shape))
    return path


def load_features(folder: Path, header: dict) -> tuple[Tensor, Tensor, tuple[int, int, int]] | None:
    """What `save_features` wrote for this header, or None where there is nothing or nothing readable."""
    path = folder / f"{content_key(header)}.npz"
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            if json.loads(data["header"].tobytes()) != header:
                return None
            shape = tuple(int(v) for v in data["shape"])
            return torch.from_numpy(data["ids"]), torch.from_numpy(data["features"]), shape
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # a damaged file is computed again and overwritten


def load_or_train(
    folder: Path, header: dict, build: Callable[[], nn.Module], train: Callable[[], nn.Module]
) -> nn.Module:
    """A frozen network as it was trained before, or trained now and kept.

    Args:
        folder: where such networks are kept.
        header: everything that the weights are a function of, as JSON.
        build: the untrained network, into which kept weights are loaded.
        train: the trained one.
    """
    path = folder / f"{content_key(header)}.pt"
    if path.is_file():
        with keyed.forked("judge"):
            network = build()
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
            return network.eval().requires_grad_(False)
        except Exception:  # damaged: torch has no one error for that
            path.unlink(missing_ok=True)
    network = train()
    with replacing(path) as temporary:
        torch.save(network.state_dict(), temporary)
    return network
