"""Fused checkpoints: exact means, statistics of their own, loadable, refused where architectures differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.errors import RunError, UsageError
from vidiff.inference.checkpoint import load_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.inference.fuse import fuse_checkpoints
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


def test_weighted_mean_of_all_weights(three, tmp_path):
    out = tmp_path / "new" / "c.ckpt"
    assert fuse_checkpoints(three, out, [1, 2, 1]) == out
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
    fuse_checkpoints(three, out)
    model = load_model(out)
    z = torch.cat([model.latents(range(32 * i, 32 * i + 32), "statistics") for i in range(8)])
    for network in (model.generator, model.sampler.averaged()):  # the second when it is asked for
        x = network.layers[0](z[:, :, None, None, None])
        torch.testing.assert_close(network.layers[1].running_mean, x.mean((0, 2, 3, 4)), rtol=1e-4, atol=1e-6)
    states = [read_checkpoint(p)["state_dict"]["discriminator.layers.3.running_var"] for p in three]
    torch.testing.assert_close(model.discriminator.layers[3].running_var, sum(states) / 3, rtol=1e-6, atol=1e-8)


def test_equal_inputs_change_nothing(three, tmp_path):
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(three[2].read_bytes())
    fuse_checkpoints([three[2], copy, three[2]], tmp_path / "c.ckpt", [1, 0.3, 5])
    fuse_checkpoints([three[2], three[0]], tmp_path / "d.ckpt", [1, 0])
    before = read_checkpoint(three[2])["state_dict"]
    for name in ("c", "d"):
        after = read_checkpoint(tmp_path / f"{name}.ckpt")["state_dict"]
        assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
    assert torch.equal(load_model(tmp_path / "c.ckpt").sample(2), load_model(three[2]).sample(2))


def test_samples_but_no_training(three, tmp_path):
    out = tmp_path / "c.ckpt"
    fuse_checkpoints(three[:2], out)
    assert load_model(out).sample(2).shape == (2, 3, 4, 16, 16)
    with pytest.raises(UsageError, match="fused from several"):
        quiet_trainer(max_steps=9).fit(DCGAN(**TINY), Clips(), ckpt_path=out, weights_only=True)


def test_other_state_is_the_first_ones(tmp_path):
    paths = [trained(tmp_path / f"{n}.ckpt", n, PGGAN, fade_clips=8, stable_clips=2) for n in (2, 4)]
    levels = [float(read_checkpoint(p)["state_dict"]["generator.level"]) for p in paths]
    assert levels[0] != levels[1]
    fuse_checkpoints(paths, tmp_path / "c.ckpt")
    assert float(load_model(tmp_path / "c.ckpt").generator.level) == levels[0]


def test_refusals(three, tmp_path):
    a, b = three[:2]
    wide, other = trained(tmp_path / "w.ckpt", 1, width=8), trained(tmp_path / "l.ckpt", 1, LSGAN)
    (tmp_path / "bad.ckpt").write_text("hello")
    for paths, weights, error, said in (
        ((a, wide), None, UsageError, r"different architectures \(width 4 and 8\)"),
        ((a, other), None, UsageError, "holds a DCGAN"),
        ((a,), None, UsageError, "at least two"),
        ((a, b), [1], UsageError, "1 weights for 2"),
        ((a, b), [1, -1], UsageError, "must not be negative"),
        ((a, b), [0, 0], UsageError, "not all be 0"),
        ((a, tmp_path / "none.ckpt"), None, UsageError, "does not exist"),
        ((a, tmp_path / "bad.ckpt"), None, RunError, "not a readable checkpoint"),
    ):
        with pytest.raises(error, match=said):
            fuse_checkpoints(paths, tmp_path / "c.ckpt", weights)
    for output, said in ((a, "one of the inputs"), (tmp_path / "c.pt", "end in .ckpt")):
        with pytest.raises(UsageError, match=said):
            fuse_checkpoints([a, b], output)
    assert not list(tmp_path.glob("c.*")) and not list(tmp_path.glob(".*"))
