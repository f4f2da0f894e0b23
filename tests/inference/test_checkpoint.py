"""A checkpoint is data: nothing that it names is run, and nothing that is wrong with it ends in a traceback."""

from __future__ import annotations

import copy
import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from helpers import TINY

from vidiff.cli import main
from vidiff.errors import RunError, UsageError
from vidiff.inference.checkpoint import load_like, load_model
from vidiff.models.cyclegan import CycleGAN
from vidiff.models.dcgan import DCGAN
from vidiff.models.loss_sensitive import LossSensitiveGAN
from vidiff.models.translation import Translator
from vidiff.nn.generators import ConvGenerator


def content_of(model: torch.nn.Module) -> dict:
    """What a trainer would save of a model, without training it."""
    content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
    model.on_save_checkpoint(content)
    return content


@pytest.fixture(scope="module")
def good() -> dict:
    return content_of(DCGAN(**TINY))


@pytest.fixture(scope="module")
def translator() -> dict:
    return content_of(CycleGAN(num_frames=4, resolution=16, width=4))


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def with_arguments(content: dict, **arguments) -> dict:
    record = content["vidiff"]
    return content | {"vidiff": record | {"init_args": record["init_args"] | arguments}}


# ---- what a checkpoint may name -------------------------------------------------------------------------------------

RUN = {"class_path": "os.system", "init_args": {"command": "touch marker"}}
NET = "vidiff.nn.generators.ConvGenerator"
HOSTILE = {
    "a function of the system": {"generator": RUN},
    "as optimiser": {"optimizer_g": RUN},
    "a class that starts programs": {"generator": {"class_path": "subprocess.Popen", "init_args": {"args": "touch"}}},
    "a builtin": {"generator": {"class_path": "builtins.eval", "init_args": {"source": "open('marker', 'w')"}}},
    "a module that acts when it is imported": {"generator": {"class_path": "evil_module.Net"}},
    "through what a module of the suite imports": {"generator": {"class_path": "vidiff.nn.blocks.nn.modules.sys.exit"}},
    "through what a module of torch imports": {"generator": {"class_path": "torch.nn.modules.module.sys"}},
    "what a module of the suite only imports": {"generator": {"class_path": "vidiff.models.base.RunError"}},
    "a function of the suite": {"generator": {"class_path": "vidiff.models.families"}},
    "a private class of the suite": {"generator": {"class_path": "vidiff.nn.perceptual._VGG16"}},
    "what loads another file": {
        "generator": {
            "class_path": "vidiff.inference.checkpoint.CheckpointTranslation",
            "init_args": {"ckpt": "other.ckpt"},
        }
    },
    "what downloads": {"generator": {"class_path": "torch.hub.load", "init_args": {"repo_or_dir": "a/b"}}},
    "a bare dotted text": {"generator": "os.system"},
    "a text that is YAML": {"generator": "{class_path: os.system, init_args: {command: touch marker}}"},
    "a text that is a module's name": {"optimizer_d": "evil_module.Net"},
    "a text for a callable argument": {
        "generator": {
            "class_path": "torch.nn.TripletMarginWithDistanceLoss",
            "init_args": {"distance_function": "evil_module.Net"},
        }
    },
    "deep inside": {
        "generator": {"class_path": "vidiff.nn.ensemble.GeneratorEnsemble", "init_args": {"count": 2, "member": RUN}}
    },
    "in a list": {"stages": [{"steps": 1, "weights": {"fake": RUN}}]},
    "beside the arguments": {"generator": {"class_path": NET, "dict_kwargs": {"norm": RUN}}},
    "a list instead of a name": {"generator": {"class_path": ["os", "system"], "init_args": RUN["init_args"]}},
    "a name with a trick": {"generator": {"class_path": f"{NET}\nos.system"}},
    "nested forty times": {"generator": "deep"},
}  # fmt: skip


@pytest.fixture
def guarded(tmp_path, monkeypatch):
    """A working folder in which anything that runs leaves a trace; a function that says whether something has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("evil_module.py").write_text("open('marker', 'w')\nclass Net:\n    pass\n")
    ran = []
    for owner, name in ((os, "system"), (subprocess, "Popen"), (torch.hub, "load")):
        monkeypatch.setattr(owner, name, lambda *args, **kwargs: ran.append(args))
    return lambda: bool(ran) or Path("marker").exists() or "evil_module" in sys.modules


def one_line(capsys) -> str:
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("INFO")]
    assert len(said) == 1 and said[0].startswith("vidiff: error: ") and len(said[0]) < 500, said
    return said[0]


def nested(levels: int) -> dict:
    value: dict = {"class_path": NET}
    for _ in range(levels):
        value = {"class_path": "vidiff.nn.extra_layers.WithExtraLayers", "init_args": {"network": value}}
    return value


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_records_run_nothing(name, good, translator, guarded, capsys):
    arguments = {k: nested(40) if v == "deep" else v for k, v in HOSTILE[name].items()}
    for verb, content in (("sample", good), ("translate", translator), ("fuse", good)):
        paths = [str(saved(with_arguments(content, **arguments), Path(f"{verb}{k}.ckpt"))) for k in range(2)]
        commands = {
            "sample": ["--ckpt", paths[0], "--num_clips", "1", "--output", "out"],
            "translate": ["--ckpt", paths[0], "--input", paths[1], "--output", "out.mp4"],
            "fuse": [*paths, "--output", "out.ckpt"],
        }
        assert main([verb, *commands[verb]]) in (1, 2)
        assert paths[0] in one_line(capsys)
        assert not guarded() and not list(Path(".").glob("out*"))


@pytest.mark.parametrize("path", ["os.system", "torch.nn.Linear", "vidiff.ema.GeneratorEMA", "evil_module.Net", ""])
def test_the_model_itself_is_a_family(path, good, guarded):
    bad = saved(good | {"vidiff": good["vidiff"] | {"class_path": path}}, Path("a.ckpt"))
    with pytest.raises(RunError, match=r"a.ckpt cannot be used: .*(which is not called|no VideoModule)"):
        load_model(bad)
    assert not guarded()


MINE = """
from vidiff.models.dcgan import DCGAN
from vidiff.nn.generators import ConvGenerator
class MyGAN(DCGAN):
    pass
class Net(ConvGenerator):
    pass
def make(spec, norm):
    return ConvGenerator(spec, norm=norm)
"""


def test_own_modules_are_trusted_by_name(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_models_for_trust.py").write_text(MINE)
    own = {"class_path": "my_models_for_trust.Net", "init_args": {"norm": "batch"}}
    function = {"class_path": "my_models_for_trust.make", "init_args": {"norm": "batch"}}
    for k, arguments in enumerate(({"generator": own}, {"generator": function}, {})):
        content = with_arguments(good, **arguments)
        if not arguments:
            content["vidiff"] = content["vidiff"] | {"class_path": "my_models_for_trust.MyGAN"}
        path = saved(content, Path(f"{k}.ckpt"))
        with pytest.raises(RunError, match="--trust MODULE"):
            load_model(path)
        model = load_model(path, trust=("my_models_for_trust",))
        assert torch.equal(model.sample(1), load_model(saved(good, Path("good.ckpt"))).sample(1))
    assert type(model).__name__ == "MyGAN"
    sample = ["sample", "--ckpt", "2.ckpt", "--num_clips", "1", "--formats", "npy", "--output", "s"]
    assert main(sample) == 1 and "--trust MODULE" in one_line(capsys)
    assert main([*sample, "--trust", "my_models_for_trust"]) == 0
    # What a trusted module only imports is not trusted with it.
    with pytest.raises(RunError, match="which is not called"):
        load_model(saved(with_arguments(good, generator=RUN), Path("b.ckpt")), trust=("my_models_for_trust",))


def test_a_training_loads_what_it_was_given(good, tmp_path):
    """Its best checkpoint, at the end: nothing has to be trusted or given again by hand."""
    factory = lambda spec: ConvGenerator(spec, norm="instance")  # noqa: E731
    model = DCGAN(generator=factory, **TINY)
    path = saved(content_of(model), tmp_path / "a.ckpt")
    assert torch.equal(load_like(model, path).sample(1), model.sample(1))
    with pytest.raises(UsageError, match="generator given in Python"):
        load_model(path)


# ---- damaged files --------------------------------------------------------------------------------------------------


class Bomb:
    def __reduce__(self):
        return os.system, ("touch marker",)


def as_bytes(content: object, **kwargs) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **kwargs)
    return buffer.getvalue()


def compressed() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"0" * 1_000_000)
    return buffer.getvalue()


def files(good: dict) -> dict[str, tuple[bytes, str]]:
    """Name -> (content of a file, what has to be said of it)."""
    whole, state = as_bytes(good), good["state_dict"]
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 4
    name = next(iter(state))
    other = {name: state[name] + 1e-3}
    record = good["vidiff"]
    missing = [
        (
            f"without {key}",
            as_bytes(good | {"vidiff": {k: v for k, v in record.items() if k != key}}),
            f"{key} is missing",
        )
        for key in ("schema", "version", "class_path", "init_args", "not_stored", "batches_seen", "data")
    ]
    return {n: (raw, said) for n, raw, said in missing} | {
        "empty": (b"", "it is empty"),
        "text": (b"hello", "cut off, or never was one"),
        "cut": (whole[: len(whole) // 2], "cut off, or never was one"),
        "flipped": (bytes(flipped), "is damaged: the checksum of its part"),
        "old format": (as_bytes(good, _use_new_zipfile_serialization=False), "cut off, or never was one"),
        "compressed": (compressed(), "compressed archive"),
        "bomb": (as_bytes(good | {"more": Bomb()}), "not a readable checkpoint: it holds more than plain values"),
        "list": (as_bytes([good]), "it holds a list"),
        "nothing": (as_bytes({}), "no `vidiff` record"),
        "newer": (as_bytes(good | {"vidiff": record | {"schema": 99, "version": "9.0"}}), "written by vidiff 9.0"),
        "no weights": (as_bytes({k: v for k, v in good.items() if k != "state_dict"}), "it holds no weights"),
        "weights of text": (as_bytes(good | {"state_dict": {"a": "b"}}), "it holds no weights"),
        "no step": (as_bytes(good | {"global_step": "3"}), "`global_step` is no step"),
        "NaN": (as_bytes(good | {"state_dict": state | {name: state[name] * float("nan")}}), f"{name} is not finite"),
        "other weights": (as_bytes(good | {"state_dict": state | other}), "their checksum is another one"),
        "wide tensor": (as_bytes(good | {"more": torch.zeros(1).expand(10**9, 10**6)}), "more is no plain tensor"),
        "nested": (as_bytes(good | {"vidiff": record | {"data": nested(40)}}), "nests them too deeply"),
    }


def test_damaged_files_are_named_in_one_line(good, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, (raw, said) in files(good).items():
        Path("a.ckpt").write_bytes(raw)
        assert main(["sample", "--ckpt", "a.ckpt", "--num_clips", "1", "--output", "out"]) == 1, name
        line = one_line(capsys)
        assert said in line and "a.ckpt" in line, name
    assert [p.name for p in Path(".").iterdir()] == ["a.ckpt"]  # no bomb, no output


def old(content: dict, **arguments) -> dict:
    """As it was written before there were checksums."""
    content = with_arguments(content, **arguments)
    content["vidiff"] = {k: v for k, v in content["vidiff"].items() if k not in ("checksum", "statistics")}
    return content


def test_old_checkpoints_load(good, tmp_path):
    a, b = (load_model(saved(c, tmp_path / "a.ckpt")) for c in (good, old(good)))
    assert torch.equal(a.sample(2), b.sample(2))


ABSURD = [("width", 10**9), ("width", 10**30), ("latent_dim", 10**12), ("num_frames", 10**6), ("resolution", 2**40)]
ABSURD += [("num_classes", 10**12), ("width", -4), ("width", "wide"), ("width", None), ("n_critic", 0), ("unknown", 1)]
ABSURD += [("ema_decay", 7.0), ("generator", {"class_path": "torch.nn.Linear"}), ("lr_schedule", 3)]
ABSURD += [("generator", {"class_path": NET, "init_args": {"norm": "none"}})]
ABSURD += [("generator", {"class_path": "vidiff.nn.ensemble.GeneratorEnsemble", "init_args": {"count": 10**9}})]


@pytest.mark.parametrize("name, value", ABSURD)
def test_absurd_records_are_refused_before_anything_large_is_made(good, tmp_path, name, value):
    with pytest.raises((RunError, UsageError), match="a.ckpt cannot be used") as refused:
        load_model(saved(old(good, **{name: value}), tmp_path / "a.ckpt")).sample(1)
    assert "\n" not in str(refused.value)


def test_domains_that_are_none_are_refused(translator, tmp_path):
    bad = translator | {"vidiff": translator["vidiff"] | {"data": {"domains": {"train": 0}}}}
    with pytest.raises(RunError, match="does not make a model"):
        load_model(saved(bad, tmp_path / "a.ckpt"))


def test_a_folder_is_told_which_file_to_take(good, tmp_path, capsys):
    assert main(["sample", "--ckpt", str(tmp_path)]) == 2 and "holds no checkpoint" in one_line(capsys)
    (tmp_path / "checkpoints").mkdir()
    saved(good, tmp_path / "checkpoints" / "best.ckpt")
    assert main(["sample", "--ckpt", str(tmp_path)]) == 2
    assert f"take {tmp_path / 'checkpoints' / 'best.ckpt'}" in one_line(capsys)


# ---- mutations ------------------------------------------------------------------------------------------------------

VALUES = [None, -1, 0, 10**9, float("nan"), "", "os.system", [], {}, True, b"x", 1.5, RUN, ["a"], (1, 2)]


def keys_of(value: object, before: tuple = ()) -> list[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for k, v in items for path in [(*before, k), *keys_of(v, (*before, k))]]


def mutated(content: dict, rng: random.Random) -> bytes:
    """A checkpoint with one thing wrong."""
    if rng.random() < 0.3:
        raw = bytearray(as_bytes(content))
        if rng.random() < 0.5:
            return bytes(raw[: rng.randrange(len(raw))])
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        return bytes(raw)
    content = copy.deepcopy(content)
    *above, last = rng.choice(keys_of(content))
    parent = content
    for key in above:
        parent = parent[key]
    if rng.random() < 0.3:
        del parent[last]
    else:
        parent[last] = rng.choice(VALUES)
    return as_bytes(content)


def test_mutations_load_or_are_refused_in_one_line(good, translator, guarded):
    rng, refused = random.Random(0), 0
    for _ in range(60):
        content = rng.choice([good, translator])
        Path("m.ckpt").write_bytes(mutated(content, rng))
        try:
            model = load_model("m.ckpt")
            assert model.domains if isinstance(model, Translator) else len(model.sample(1)) == 1
        except (UsageError, RunError) as error:
            assert "m.ckpt" in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 20 and not guarded()


def test_a_checkpoint_brings_its_measured_statistics(tmp_path, monkeypatch):
    """Sampling one clip makes one clip; only old files measure BatchNorm, and come to the same."""
    content = content_of(DCGAN(**TINY))
    calls = []
    measured = DCGAN.statistics_batch
    monkeypatch.setattr(DCGAN, "statistics_batch", lambda *a: (calls.append(1), measured(*a)))
    new = load_model(saved(content, tmp_path / "a.ckpt")).sample(1, batch_size=1)
    assert not calls  # one clip, and nothing before it
    assert torch.equal(load_model(saved(old(content), tmp_path / "b.ckpt")).sample(1, batch_size=1), new)
    assert calls


def test_a_checkpoint_that_names_what_has_moved_since_loads(tmp_path):
    content = content_of(LossSensitiveGAN(**TINY))
    content["vidiff"] |= {"class_path": "vidiff.models.ls_gan.LossSensitiveGAN"}
    assert isinstance(load_model(saved(content, tmp_path / "old.ckpt")), LossSensitiveGAN)
