"""A small embedded set for real runs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """12 small videos of the embedded set."""
    from vidiff.data.shapes.render import render_dataset

    root = tmp_path_factory.mktemp("data") / "shapes"
    render_dataset(root, videos=12, seed=0, frames=8, resolution=32)
    return root
