"""A generator for other programs: what is written gives what the model gives, or nothing is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from films import frames_of
from helpers import TINY

import vidiff
from vidiff.clip import clip_to_thwc, signed_to_uint8, thwc_to_clip, uint8_to_unit, unit_to_signed
from vidiff.data.shapes.scene import render_scene
from vidiff.errors import RunError, UsageError
from vidiff.inference import export as exporting
from vidiff.inference.translate import frame_translator
from vidiff.inference.windows import plan, through_windows
from vidiff.models import families
from vidiff.video.write import write_mp4

SIZES = dict(num_frames=4, resolution=16, width=4)


@pytest.fixture
def saved(tmp_path):
    """saved("DCGAN", latent_dim=8) -> the checkpoint of a new model with weights far from 0."""

    def save(name: str, **settings) -> str:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = families()[name](**settings).eval()
            for p in model.generator_ema.module.parameters():
                torch.nn.init.normal_(p, 0.0, 0.15)
        content = {"epoch": 0, "global_step": 3, "pytorch-lightning_version": "2.6.6", "state_dict": model.state_dict()}
        model.on_save_checkpoint(content)
        torch.save(content, tmp_path / "m.ckpt")
        return tmp_path / "m.ckpt"

    return save


def test_a_video_streams_through_onnxruntime(tmp_path):
    """Of another size and length than the network was trained on, in windows: the frames that `translate` gives."""
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = "zoo:cyclegan-day2night"
    done = vidiff.export(path, tmp_path / "m.onnx", direction="b2a")
    assert done.inputs == {"clip": ["batch", 3, "frames", "height", "width"]} and done.error < 1e-5
    session = onnxruntime.InferenceSession(done.path)
    about = json.loads(session.get_modelmeta().custom_metadata_map["vidiff"])
    assert (about["source"], about["target"]) == ("B", "A")
    assert about["inputs"][0]["range"].startswith("[-1, 1]") and about["multiples"] == {"height": 4, "width": 4}
    assert session.get_inputs()[0].shape == ["batch", 3, "frames", "height", "width"]

    def network(clips: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"clip": unit_to_signed(uint8_to_unit(clips)).numpy()})[0])

    model = vidiff.load_model(path, "cpu")
    write_mp4(tmp_path / "in.mp4", render_scene(0, 3, "night", 21, 48)[:, 8:44])
    frames = frames_of(tmp_path / "in.mp4")
    images = (thwc_to_clip(frame[None])[:, 0] for frame in frames)
    stream = through_windows(images, network, *plan(model.network(1, 0), 8, None))
    made = np.stack([clip_to_thwc(signed_to_uint8(image.unsqueeze(1)))[0] for image in stream]).astype(int)
    expected = np.stack(list(frame_translator(model, direction="b2a")(frames))).astype(int)
    assert made.shape == (21, 36, 48, 3) and expected.std() > 20 and np.abs(made - expected).max() <= 1


def test_a_generator_as_a_program(saved, tmp_path):
    """Its inputs are those that its family makes, also where they are labels and times."""
    path = saved("AnytimeGAN", **TINY, num_classes=3)
    done = vidiff.export(path, tmp_path / "m.pt2")
    assert done.inputs == {"z": ["batch", 8], "label": ["batch"], "times": ["batch", "frames"]} and done.error < 1e-5
    extra = {"vidiff": ""}
    program = torch.export.load(done.path, extra_files=extra)
    about = {one["name"]: one for one in json.loads(extra["vidiff"])["inputs"]}
    assert about["label"] == {"name": "label", "dtype": "int64", "shape": ["batch"], "range": "0 to 2"}
    model = vidiff.load_model(path, "cpu")
    z = model.latents(range(5), "sample", 3)
    times = torch.arange(4.0).expand(5, -1)
    made = signed_to_uint8(program.module()(z, torch.tensor([0, 1, 2, 0, 1]), times))
    apart = (made.int() - model.sample(5, seed=3, labels=[0, 1, 2]).int()).abs()
    assert apart.max() <= 1 and made.float().std() > 5


def test_weights_alone_are_a_model_to_the_last_bit(saved, tmp_path):
    path = saved("CycleGAN", **SIZES)
    done = vidiff.export(path, tmp_path / "m.safetensors", format="safetensors")
    one, other = (vidiff.load_model(p, "cpu") for p in (path, done.path))
    clips = torch.randint(0, 256, (2, 3, 4, 16, 20), dtype=torch.uint8)
    for pair in ((0, 1), (1, 0)):
        assert torch.equal(one.translate(clips, *pair), other.translate(clips, *pair))


def test_what_cannot_be_asked_for(saved, tmp_path, monkeypatch):
    path = saved("CycleGAN", **SIZES)
    before = sorted(tmp_path.iterdir())
    for output, options, said in (
        ("m.bin", {}, "accepted: .onnx, .pt2, .safetensors"),
        ("m.onnx", {"format": "exported"}, "a file that ends in .pt2"),
        ("m.safetensors", {"direction": "a2b"}, "holds every direction"),
        ("m.pt2", {"target": "dusk"}, "knows the domains"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            vidiff.export(path, tmp_path / output, **options)
        assert "\n" not in str(caught.value)
    with monkeypatch.context() as patch:
        patch.setattr(exporting.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(UsageError, match=r"onnxruntime: pip install 'vidiff\[export\]'"):
            vidiff.export(path, tmp_path / "m.onnx")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(RunError, match="not written, what it would give is 0 from what the model gives"):
        vidiff.export(path, tmp_path / "m.safetensors")
    path = saved("DCGAN", **TINY)
    with pytest.raises(UsageError, match="DCGAN does not translate"):
        vidiff.export(path, tmp_path / "m.pt2", target="a")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(families()))
def test_every_family_in_every_format(name, saved, tmp_path):
    pytest.importorskip("onnxscript")
    needed = {"num_classes": 3} if name == "StarGAN" else {}
    sizes = SIZES if name in ("CycleGAN", "StarGAN", "Restoration") else TINY
    needed |= {"num_frames": 8} if name == "MultiPeriodGAN" else {}
    path = saved(name, **{**sizes, **needed})
    for suffix in ("onnx", "pt2", "safetensors"):
        one = {"target": "1"} if name == "StarGAN" and suffix != "safetensors" else {}
        done = vidiff.export(path, tmp_path / f"m.{suffix}", **one)
        assert done.error <= 1e-4 and all(sides[0] == "batch" for sides in done.inputs.values())
