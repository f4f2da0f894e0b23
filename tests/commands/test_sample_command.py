"""`vidiff sample`: what it refuses leaves nothing behind."""

from __future__ import annotations

import pytest
from helpers import quiet_trainer

from vidiff.cli import main
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN

TINY = dict(num_frames=4, resolution=16, width=4)


@pytest.fixture
def checkpoint(tmp_path):
    def write(model) -> str:
        trainer = quiet_trainer(max_steps=1)
        trainer.strategy.connect(model)
        (tmp_path / "run").mkdir(exist_ok=True)
        trainer.save_checkpoint(tmp_path / "run" / "best.ckpt")
        return str(tmp_path / "run" / "best.ckpt")

    return write


def test_a_translation_makes_no_samples(checkpoint, tmp_path, capsys):
    path = checkpoint(CycleGAN(pool_size=1, **TINY))
    assert main(["sample", "--ckpt", path]) == 2
    said = capsys.readouterr().err
    assert "CycleGAN" in said and "vidiff translate" in said and "Traceback" not in said
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["best.ckpt"]


def test_clips_are_written_and_a_refused_label_leaves_no_folder(checkpoint, tmp_path, capsys):
    path = checkpoint(DCGAN(latent_dim=4, **TINY))
    assert main(["sample", "--ckpt", path, "--labels", "1", "--output", str(tmp_path / "out")]) == 2
    assert "unconditional" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert (
        main(
            ["sample", "--ckpt", path, "--num_clips", "3", "--formats", "gif", "npy", "--output", str(tmp_path / "out")]
        )
        == 0
    )
    names = sorted(p.name for p in (tmp_path / "out").iterdir() if p.suffix != ".json")
    assert names == ["00000.gif", "00001.gif", "00002.gif", "clips.npy"]
