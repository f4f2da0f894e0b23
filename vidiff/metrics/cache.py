"""Real features on disk: npz without pickle, named by content, written atomically."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vidiff.files import replacing


def cache_key(header: dict) -> str:
    """sha256 of a header's canonical JSON: content and protocol, never a path."""
    return hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def save_features(folder: Path, header: dict, ids: Tensor, features: Tensor, shape: tuple[int, int, int]) -> Path:
    """Write ids (N,), features (N, W) and the clip shape (T, H, W) under `folder`; returns the file."""
    path = folder / f"{cache_key(header)}.npz"
    text = np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8)
    with replacing(path) as temporary:
        np.savez(temporary, header=text, ids=ids.numpy(), features=features.numpy(), shape=np.asarray(shape))
    return path


def load_features(folder: Path, header: dict) -> tuple[Tensor, Tensor, tuple[int, int, int]] | None:
    """What `save_features` wrote for this header, or None where there is nothing or nothing readable."""
    path = folder / f"{cache_key(header)}.npz"
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as data:
            if json.loads(data["header"].tobytes()) != header:
                return None
            shape = tuple(int(v) for v in data["shape"])
            return torch.from_numpy(data["ids"]), torch.from_numpy(data["features"]), shape
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # a damaged cache is recomputed and overwritten
