"""Fused checkpoints: exact means, statistics of their own, loadable, refused where architectures differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.cli import main
from vidiff.errors import UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.models.dcgan import DCGAN
from vidiff.models.lsgan import LSGAN
from vidiff.models.pggan import PGGAN


def trained(path: Path, steps: int, cls=DCGAN, **settings) -> Path:
    trainer = quiet_trainer(max_steps=steps)
    trainer.fit(cls(**{**TINY, **settings}), Clips())
    trainer.save_checkpoint(path)
    return path


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> list[Path]:
    root = tmp_path_factory.mktemp("fuse")
    return [trained(root / f"{n}.ckpt", n) for n in (2, 3, 5)]


def fuse(*paths: Path, out: Path, more: tuple[str, ...] = ()) -> int:
    return main(["fuse", *map(str, paths), "--output", str(out), *more])


def test_weighted_mean_of_all_weights(three, tmp_path, capsys):
    out = tmp_path / "new" / "c.ckpt"
    assert fuse(*three, out=out, more=("--weights", "1", "2", "1")) == 0
    assert "3 checkpoints averaged" in capsys.readouterr().out
    states = [read_checkpoint(p)["state_dict"] for p in three]
    got, model = read_checkpoint(out), load_model(out)
    parameters = dict(model.named_parameters())
    assert any(k.startswith("generator_ema.") for k in parameters)
    for name in parameters:
        a, b, c = (s[name].double() for s in states)
        torch.testing.assert_close(got["state_dict"][name].double(), a / 4 + b / 2 + c / 4, rtol=1e-6, atol=1e-8)
    assert int(got["state_dict"]["generator_ema.n_averaged"]) == 5
    assert got["vidiff"]["fused"] == [[str(p), w] for p, w in zip(three, (0.25, 0.5, 0.25))]
    assert "optimizer_states" not in got and [p.name for p in out.parent.iterdir()] == ["c.ckpt"]


def test_statistics_are_measured_on_the_fused_weights(three, tmp_path):
    out = tmp_path / "c.ckpt"
    assert fuse(*three, out=out) == 0
    model = load_model(out)
    z = torch.cat([model.latents(range(32 * i, 32 * i + 32), "statistics") for i in range(8)])
    for network in (model.generator, model.averaged_generator()):  # the second when it is asked for
        x = network.layers[0](z[:, :, None, None, None])
        torch.testing.assert_close(network.layers[1].running_mean, x.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-6)
    states = [read_checkpoint(p)["state_dict"]["discriminator.layers.3.running_var"] for p in three]
    torch.testing.assert_close(model.discriminator.layers[3].running_var, sum(states) / 3, rtol=1e-6, atol=1e-8)


def test_equal_inputs_change_nothing(three, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(three[2].read_bytes())
    assert fuse(three[2], copy, three[2], out=tmp_path / "c.ckpt", more=("--weights", "1", "0.3", "5")) == 0
    assert fuse(three[2], three[0], out=tmp_path / "d.ckpt", more=("--weights", "1", "0")) == 0
    before = read_checkpoint(three[2])["state_dict"]
    for name in ("c", "d"):
        after = read_checkpoint(tmp_path / f"{name}.ckpt")["state_dict"]
        assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert torch.equal(load_model(tmp_path / "c.ckpt").sample(2), load_model(three[2]).sample(2))


def test_samples_and_validation_but_no_training(three, tmp_path):
    out = tmp_path / "c.ckpt"
    assert fuse(*three[:2], out=out) == 0
    assert (
        main(["sample", "--ckpt", str(out), "--num_clips", "2", "--formats", "npy", "--output", str(tmp_path / "s")])
        == 0
    )
    assert (tmp_path / "s" / "clips.npy").exists()
    with pytest.raises(UsageError, match="fused from several"):
        quiet_trainer(max_steps=9).fit(DCGAN(**TINY), Clips(), ckpt_path=out, weights_only=True)


def test_other_state_is_the_first_ones(tmp_path):
    paths = [trained(tmp_path / f"{n}.ckpt", n, PGGAN, fade_clips=8, stable_clips=2) for n in (2, 4)]
    levels = [float(read_checkpoint(p)["state_dict"]["generator.level"]) for p in paths]
    assert levels[0] != levels[1] and fuse(*paths, out=tmp_path / "c.ckpt") == 0
    assert float(load_model(tmp_path / "c.ckpt").generator.level) == levels[0]


def test_refusals(three, tmp_path, capsys):
    a, b = three[:2]
    wide, other = trained(tmp_path / "w.ckpt", 1, width=8), trained(tmp_path / "l.ckpt", 1, LSGAN)
    (tmp_path / "bad.ckpt").write_text("hello")
    out = tmp_path / "c.ckpt"
    for paths, more, code, named in (
        ((a, wide), (), 2, "different architectures (width 4 and 8)"),
        ((a, other), (), 2, "holds a DCGAN"),
        ((a,), (), 2, "at least two"),
        ((a, b), ("--weights", "1"), 2, "1 weights for 2"),
        ((a, b), ("--weights", "1", "-1"), 2, "must not be negative"),
        ((a, b), ("--weights", "1", "x"), 2, "invalid float value"),
        ((a, tmp_path / "none.ckpt"), (), 2, "does not exist"),
        ((a, tmp_path / "bad.ckpt"), (), 1, "not a readable checkpoint"),
    ):
        assert fuse(*paths, out=out, more=more) == code
        said = capsys.readouterr().err
        assert named in said and len(said.splitlines()) == 1, said
    assert fuse(a, b, out=a) == 2 and "one of the inputs" in capsys.readouterr().err
    assert fuse(a, b, out=tmp_path / "c.pt") == 2 and "end in .ckpt" in capsys.readouterr().err
    assert not list(tmp_path.glob("c.*")) and not list(tmp_path.glob(".*"))
