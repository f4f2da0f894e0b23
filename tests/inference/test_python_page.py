"""The examples of `docs/python.md` run as they stand, in a folder that holds what they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from films import film
from helpers import TINY, quiet_trainer

import vidiff
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.models.restoration import Restoration

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("page")
    tiny = {k: v for k, v in TINY.items() if k != "latent_dim"}
    models = {"dcgan": DCGAN(**TINY), "cyclegan": CycleGAN(pool_size=1, **tiny), "restoration": Restoration(**tiny)}
    for name, model in models.items():
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        for file in ("best", "last"):
            trainer.save_checkpoint(root / "runs" / name / "checkpoints" / f"{file}.ckpt")
    for folder, lengths in (("videos", (9, 5)), ("real", (12, 12, 12)), ("generated", (8, 8))):
        (root / folder).mkdir()
        for i, frames in enumerate(lengths):
            film(root / folder / f"{i}.mp4", frames, size=(32, 32))
    return root


def test_there_are_examples_of_at_most_ten_lines():
    assert len(BLOCKS) >= 6 and max(block.count("\n") for block in BLOCKS) <= 10


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:40])
def test_an_example_runs(block, place, monkeypatch):
    monkeypatch.chdir(place)
    exec(compile(block, str(PAGE), "exec"), {})


def test_what_the_package_exports():
    assert set(vidiff.__all__) <= set(dir(vidiff)) and all(getattr(vidiff, name) for name in vidiff.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vidiff.nothing
