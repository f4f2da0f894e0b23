"""One thread a process, a cache of its own, and the tests' helpers importable."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Index and feature caches of the tests never mix with the user's."""
    os.environ["VIDIFF_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    yield


@pytest.fixture(autouse=True)
def _no_inherited_run(monkeypatch):
    monkeypatch.delenv("VIDIFF_RUN_DIR", raising=False)
