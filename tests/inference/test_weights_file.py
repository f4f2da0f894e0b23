"""Averaged generators as safetensors: they come back, and a hostile file is refused in one line and runs nothing."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import TINY
from safetensors.torch import save_file

from vidiff.cli import main
from vidiff.errors import RunError, UsageError
from vidiff.inference.checkpoint import build_model, load_model
from vidiff.inference.checkpoint_file import read_checkpoint
from vidiff.inference.fuse import fuse_checkpoints
from vidiff.inference.weights_file import load_weights, round_weights, write_weights
from vidiff.models import families
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.models.translation import Translator
from vidiff.nn.generators import ConvGenerator
from vidiff.nn.resnet import ResnetGenerator

SMALL = dict(num_frames=4, resolution=16, width=4)
MORE = {"StarGAN": {"num_classes": 3}, "MultiPeriodGAN": {"num_frames": 8}}


def content_of(model: torch.nn.Module) -> dict:
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    return content


def shipped(model: torch.nn.Module, folder: Path, name: str = "a") -> tuple[torch.nn.Module, Path]:
    """A model as its checkpoint has it, rounded, and the file that was written of it."""
    torch.save(content_of(model), folder / "whole.ckpt")
    content = read_checkpoint(folder / "whole.ckpt")
    model = build_model(content, folder / "whole.ckpt")
    round_weights(model)
    write_weights(model, content, folder / f"{name}.safetensors")
    return model, folder / f"{name}.safetensors"


def clips_of(model: torch.nn.Module) -> torch.Tensor:
    if not isinstance(model, Translator):
        return model.sample(3, seed=5)
    count = model.spec.channels * model.spec.num_frames * model.spec.resolution**2
    clips = torch.arange(2 * count).remainder(251).to(torch.uint8)
    return model.translate(clips.reshape(2, 3, model.spec.num_frames, model.spec.resolution, -1), 0, 1)


@pytest.mark.parametrize("family", sorted(families()))
def test_every_family_comes_back_to_the_bit(family, tmp_path):
    model, path = shipped(families()[family](**TINY | MORE.get(family, {})), tmp_path)
    loaded = load_model(path, "cpu")
    assert torch.equal(clips_of(loaded), clips_of(model))
    assert not [n for n in loaded.state_dict() if n.startswith("discriminator.")]
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}


def test_layers_whose_state_had_other_forms_come_back(tmp_path):
    """The skip of a translation scales weights of its older form: the file says that these are of the present one."""
    skip = {"class_path": "vidiff.nn.resnet.ResnetGenerator", "init_args": {"skip": True, "blocks": 1}}
    model = CycleGAN(generator=lambda spec: ResnetGenerator(spec, skip=True, blocks=1), **SMALL)
    model.config = {"init_args": {"generator": skip}}
    model, path = shipped(model, tmp_path)
    assert torch.equal(clips_of(load_model(path, "cpu")), clips_of(model))


def test_the_file_holds_the_average_in_half_the_size(tmp_path):
    """Nothing of the discriminator or the raw weights; what has one dimension keeps its precision."""
    model = DCGAN(**TINY)
    with torch.no_grad():
        for p in model.generator.parameters():
            p.add_(1.0)  # the average is another network
    model, path = shipped(model, tmp_path)
    state, numbers = read_checkpoint(path)["state_dict"], sum(p.numel() for p in model.generator.parameters())
    for name, tensor in model.generator_ema.module.state_dict().items():
        assert torch.equal(state[f"generator_ema.module.{name}"], tensor)
        assert torch.equal(state[f"generator.{name}"], tensor)
        exact = not tensor.is_floating_point() or tensor.ndim < 2
        assert exact or torch.equal(tensor, tensor.bfloat16().float())
    header = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert path.stat().st_size - header - 8 < 2.5 * numbers


def test_rounded_weights_get_statistics_of_their_own(tmp_path):
    """BatchNorm's mean and variance are those of the rounded weights, not of the exact ones."""
    model, path = shipped(DCGAN(**TINY), tmp_path)
    exact = load_model(tmp_path / "whole.ckpt", "cpu")
    names = [n for n, _ in model.generator_ema.named_buffers() if n.endswith("running_var")]
    mine, others, again = (dict(m.generator_ema.named_buffers()) for m in (model, exact, load_model(path, "cpu")))
    assert names and any(not torch.equal(mine[n], others[n]) for n in names)
    loaded = load_model(path, "cpu")
    loaded.generator_ema.stale = True
    loaded.sampler.averaged()
    measured = dict(loaded.generator_ema.named_buffers())
    assert all(torch.allclose(measured[n], again[n], rtol=1e-4) for n in names)


def test_files_of_one_kind_are_fused(tmp_path):
    a, first = shipped(DCGAN(**TINY), tmp_path, "a")
    b, second = shipped(DCGAN(**TINY, seed=1), tmp_path, "b")
    fused = load_model(fuse_checkpoints([first, second], tmp_path / "f.ckpt"), "cpu")
    for mean, x, y in zip(fused.generator_ema.parameters(), a.generator_ema.parameters(), b.generator_ema.parameters()):
        assert torch.allclose(mean, (x + y) / 2, atol=1e-6)
    with pytest.raises(UsageError, match="averaged generator alone"):
        fuse_checkpoints([first, tmp_path / "whole.ckpt"], tmp_path / "g.ckpt")


@pytest.mark.parametrize("name", ["a.safetensors", "f.ckpt"])
def test_no_training_is_continued_from_one(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, path = shipped(DCGAN(**TINY), tmp_path)
    fuse_checkpoints([path, path], "f.ckpt")
    assert main(["fit", "--config", "experiments/dcgan.yaml", "--ckpt_path", name]) == 2
    assert "no training to continue" in capsys.readouterr().err and not Path("runs").exists()


def test_what_python_alone_has_is_in_no_file(tmp_path):
    torch.save(content_of(DCGAN(generator=lambda spec: ConvGenerator(spec), **TINY)), tmp_path / "a.ckpt")
    content = read_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(UsageError, match="generator given in Python"):
        write_weights(DCGAN(**TINY), content, tmp_path / "a.safetensors")


# ---- hostile files --------------------------------------------------------------------------------------------------

RUN = {"class_path": "os.system", "init_args": {"command": "touch marker"}}
DEEP = "[" * 100_000


def raw(header: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header


def hostile(path: Path) -> dict[str, tuple[bytes, str]]:
    """Name -> (content of a file, what has to be said of it)."""
    content, whole = load_weights(path), path.read_bytes()
    record = content["vidiff"]
    tensors = {n.removeprefix("generator."): t for n, t in content["state_dict"].items() if n.startswith("generator.")}
    name = next(n for n, t in tensors.items() if t.ndim > 1)

    def file(tensors=tensors, header=None, **changes) -> bytes:
        header = {"vidiff": json.dumps(record | changes), "global_step": "3"} if header is None else header
        save_file(tensors, path.with_suffix(".made"), header or None)
        return path.with_suffix(".made").read_bytes()

    def arguments(**more) -> bytes:
        return file(init_args=record["init_args"] | more)

    flipped = bytearray(whole)
    flipped[-5] ^= 64
    return {
        "a function of the system": (arguments(generator=RUN), "it names 'os.system', which is not called"),
        "the model itself": (file(class_path="os.system"), "it names 'os.system', which is not called"),
        "an unknown class": (file(class_path="vidiff.models.dcgan.Nothing"), "which is not called"),
        "a module that acts": (file(class_path="evil_module.Net"), "which is not called"),
        "a class that is no model": (file(class_path="torch.nn.Linear"), "is no VideoModule"),
        "an absurd width": (arguments(width=10**9), "cannot be used"),
        "another shape": (file(tensors | {name: torch.zeros(2, 2)}, checksum=None), f"{name} is (2, 2)"),
        "a missing weight": (file({n: t for n, t in tensors.items() if n != name}, checksum=None), "is missing"),
        "one too many": (file(tensors | {"more": torch.zeros(1)}, checksum=None), "more is (1,), missing is expected"),
        "not finite": (file(tensors | {name: tensors[name] / 0}), "is not finite"),
        "other weights": (bytes(flipped), "their checksum is another one"),
        "no record": (file(header={}), "no `vidiff` record"),
        "record of a training": (file(holds="all"), "not the one of an averaged generator"),
        "no versions": (file(versions=3), "`versions` holds no numbers"),
        "no JSON": (file(header={"vidiff": "{", "global_step": "3"}), "not a readable checkpoint"),
        "deep JSON": (file(header={"vidiff": DEEP, "global_step": "3"}), "not a readable checkpoint"),
        "long record": (file(header={"vidiff": " " * 2**21, "global_step": "3"}), "the record is too long"),
        "no step": (file(header={"vidiff": json.dumps(record), "global_step": "-3"}), "the step is no number"),
        "newer": (file(schema=99, version="9.0"), "written by vidiff 9.0"),
        "no data": (file(data=[]), "data is a list"),
        "empty": (b"", "not a readable checkpoint"),
        "text": (b"hello", "not a readable checkpoint"),
        "cut": (whole[: len(whole) // 2], "not a readable checkpoint"),
        "a header larger than any file": (raw(b"{}", 2**62), "not a readable checkpoint"),
        "a header that is no JSON": (raw(b"nothing"), "not a readable checkpoint"),
        "a tensor beyond the end": (
            raw(b'{"a":{"dtype":"F32","shape":[9,9],"data_offsets":[0,324]}}'),
            "not a readable checkpoint",
        ),
        "an absurd shape": (
            raw(b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'),
            "not a readable checkpoint",
        ),
        "a pickle": (b"cos\nsystem\n(S'touch marker'\ntR.", "not a readable checkpoint"),
    }


def test_hostile_files_are_refused_in_one_line_and_run_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("evil_module.py").write_text("open('marker', 'w')\nclass Net:\n    pass\n")
    ran = []
    for owner, name in ((os, "system"), (subprocess, "Popen")):
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: ran.append(args))
    _, path = shipped(DCGAN(**TINY), tmp_path)
    assert main(["sample", "--ckpt", str(path), "--num_clips", "1", "--output", "good"]) == 0
    for name, (content, said) in hostile(path).items():
        Path("h.safetensors").write_bytes(content)
        capsys.readouterr()
        assert main(["sample", "--ckpt", "h.safetensors", "--num_clips", "1", "--output", "out"]) in (1, 2), name
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("vidiff: error: h.safetensors ") and said in line and len(line) < 500, (name, line)
    assert not ran and not Path("marker").exists() and "evil_module" not in sys.modules and not Path("out").exists()


def test_a_class_path_is_data(tmp_path):
    """Trust is given by whoever loads, never by the file."""
    _, path = shipped(DCGAN(**TINY), tmp_path)
    record = load_weights(path)["vidiff"]
    assert record["class_path"] == "vidiff.models.dcgan.DCGAN" and record["holds"] == "average"
    with pytest.raises(RunError, match="cannot be used"):
        build_model(load_weights(path) | {"vidiff": record | {"class_path": "os.system"}}, path)
