"""A small embedded set, rendered once, and a way to run the command line in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidiff.cli import main


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """24 small videos of the embedded set."""
    from vidiff.data.shapes.render import render_dataset

    root = tmp_path_factory.mktemp("data") / "shapes"
    render_dataset(root, videos=24, seed=0, frames=12, resolution=32)
    return root


@pytest.fixture
def fit(shapes, tmp_path, monkeypatch):
    """fit(*extra, experiment="dcgan") -> exit code; tiny sizes, the small embedded set.

    `experiment` is a name, or a list of files that are laid over each other.
    """
    monkeypatch.chdir(tmp_path)

    def run(*extra: str, experiment: str | list[str] = "dcgan", root: Path = shapes, tiny: bool = True) -> int:
        files = [f"experiments/{experiment}.yaml"] if isinstance(experiment, str) else experiment
        files = [*files, "experiments/_tiny.yaml"] if tiny else files
        layers = [word for file in files for word in ("--config", file)]
        data = ["--data.root", str(root)] if root else []
        quick = ["--evaluation.metrics", "fvd_random,motion,diversity", "--trainer.enable_progress_bar", "false"]
        return main(["fit", *layers, *data, *quick, *map(str, extra)])

    return run
