"""Style transfer as a family: its terms by hand, a style that is learned, and a checkpoint that needs no picture."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import TINY, Clips, double, losses_of, numbers, quiet_trainer
from PIL import Image
from stand_ins import StyleStandIn

from vidiff.data.shapes.scene import render_scene
from vidiff.errors import UsageError
from vidiff.flow import backward_flow, flow_method
from vidiff.inference.checkpoint import load_model
from vidiff.models.style_transfer import StyleTransfer
from vidiff.models.stylizer import SHIPPED, stylizer
from vidiff.models.translation import Translator
from vidiff.nn.resnet import FramePainter
from vidiff.warp import warp_by_flow


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    """A small random network under the name of a trained one."""
    monkeypatch.setattr("vidiff.models.stylizer.style_extractor", lambda name: StyleStandIn())
    monkeypatch.setattr("vidiff.models.stylizer.available_extractor", lambda: "vgg16")


def picture(path, seed: int = 0):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(path)
    return path


def moved(model: StyleTransfer) -> StyleTransfer:
    """One that no longer copies."""
    with torch.no_grad():
        for network in (model.generator, model.generator_ema.module):
            network.layers[-2].space.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return model


def test_the_terms_by_hand():
    """Frame by frame and layer by layer, with sums of squares in the place of the package's functions."""
    model, batch = double(moved(StyleTransfer(**TINY, content_weight=2.0, style_weight=3.0)))
    assert len(model.grams) == 2  # while the stand-in is in float32
    extract = model.extract
    extract.a.double(), extract.b.double()
    terms = numbers(losses_of(model, "g", batch))
    x, y = batch["clip"], model.generator(batch["clip"]).detach()
    content = style = smooth = temporal = 0.0
    for clip, made in zip(x, y):
        for t in range(4):
            a, b = extract(clip[None, :, t]), extract(made[None, :, t])
            content += float(((b.content - a.content) ** 2).sum() / (a.content**2).sum()) / 16
            for maps, gram in zip(b.layers, model.grams):
                g = torch.einsum("chw,dhw->cd", maps[0], maps[0]) / maps[0, 0].numel()
                style += float(((g - gram[0].double()) ** 2).sum() / (gram**2).sum()) / (16 * len(b.layers))
            smooth += float(made[:, t].diff(dim=1).square().mean() + made[:, t].diff(dim=2).square().mean()) / 16
        flow, seen = backward_flow(clip[None], flow_method("dis"))
        for t in range(3):
            before = warp_by_flow(made[None, :, t], flow[:, :, t])
            kept = seen[:, :, t] if float(seen[:, :, t].mean()) >= 0.25 else torch.zeros(1)
            temporal += float((kept * (made[None, :, t + 1] - before) ** 2).mean()) / 12
    wanted = {"content": 2 * content, "style": 3 * style, "smooth": smooth, "temporal": 200 * temporal}
    assert terms == pytest.approx(wanted, rel=1e-5)


def test_what_is_not_asked_for_is_not_there():
    assert "temporal" not in losses_of(StyleTransfer(**TINY, temporal_weight=0.0), "g", Clips().batch(0))
    single = StyleTransfer(**TINY | {"num_frames": 1})
    assert losses_of(single, "g", Clips(num_frames=1).batch(0)).keys() == {"content", "smooth", "style"}
    grey = StyleTransfer(**TINY | {"channels": 1})
    batch = Clips().batch(0)
    assert all(math.isfinite(v) for v in numbers(losses_of(grey, "g", batch | {"clip": batch["clip"][:, :1]})).values())
    with pytest.raises(UsageError, match="model.style_weight must be at least 0"):
        StyleTransfer(**TINY, style_weight=-1.0)


def test_a_style_is_learned(tmp_path):
    """The objective of clips that were not trained on falls, and the moving average is what is used."""
    model = StyleTransfer(**TINY, style=str(picture(tmp_path / "a.png")), ema_decay=0.9)
    held, before = Clips().batch(10_000), 0.0
    before = sum(numbers(losses_of(model, "g", held)).values())
    trainer = quiet_trainer(max_steps=60)
    trainer.fit(model, Clips())
    assert sum(numbers(losses_of(model, "g", held)).values()) < 0.7 * before
    assert trainer.global_step == 60 and list(model.players) == ["g"] and isinstance(model, Translator)
    clips = torch.randint(0, 256, (2, 3, 4, 16, 16), dtype=torch.uint8)
    made = model.translate(clips, *model.pair())
    assert made.shape == clips.shape and not torch.equal(made, model.translate(clips, 0, 1, ema=False))


def test_a_checkpoint_makes_clips_without_the_picture_and_knows_it(tmp_path, capsys):
    style, other = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", seed=1)
    model, trainer = StyleTransfer(**TINY, style=str(style)), quiet_trainer(max_steps=2)
    trainer.fit(model, Clips())
    trainer.save_checkpoint(path := tmp_path / "m.ckpt")
    clips = torch.randint(0, 256, (1, 3, 4, 16, 16), dtype=torch.uint8)
    moved_away = style.rename(tmp_path / "away.png")
    loaded = load_model(path, "cpu")
    assert torch.equal(loaded.translate(clips, 0, 1), model.eval().translate(clips, 0, 1))
    loaded.check_style(moved_away)
    with pytest.raises(UsageError, match=r"b.png: the checkpoint was trained for another one, a.png \(sha256"):
        loaded.check_style(other)
    with pytest.raises(UsageError, match="style .*a.png: no such file"):
        quiet_trainer(max_steps=3).fit(StyleTransfer(**TINY, style=str(style)), Clips(), ckpt_path=path)
    moved_away.rename(style)
    quiet_trainer(max_steps=3).fit(StyleTransfer(**TINY, style=str(style)), Clips(), ckpt_path=path)
    assert "not the style" not in capsys.readouterr().err
    again = StyleTransfer(**TINY, style=str(other))
    quiet_trainer(max_steps=3).fit(again, Clips(), ckpt_path=path)
    assert "b.png is not the style that the checkpoint was trained for" in capsys.readouterr().err
    again.check_style(other)


def test_the_style_of_the_package_is_an_embedded_scene():
    with Image.open(SHIPPED) as shipped:
        assert np.array_equal(np.asarray(shipped), render_scene(0, 1002, "sketch", frames=1, resolution=192)[0])
    assert StyleTransfer(**TINY).style == SHIPPED


def test_who_gives_no_style_is_refused():
    from vidiff.models.cyclegan import CycleGAN

    model = StyleTransfer(**TINY)
    assert stylizer(model) is model and model.directions == {"stylize": [(0, 1)]}
    assert model.pair(target="stylized") == model.pair("stylize") == (0, 1)
    with pytest.raises(UsageError, match="target night: this model stylizes, its only target is stylized"):
        model.pair(target="night")
    with pytest.raises(UsageError, match="CycleGAN gives films no style"):
        stylizer(CycleGAN(num_frames=4, resolution=16, width=4))


def test_the_network_takes_frames_by_themselves_and_begins_as_a_copy():
    network = FramePainter(StyleTransfer(**TINY).spec).double()
    clip = torch.rand(1, 3, 5, 16, 24, dtype=torch.float64) * 2 - 1
    assert float((network(clip) - clip).detach().abs().max()) < 0.16
    torch.nn.init.normal_(network.layers[-2].space.weight, 0.0, 0.1)
    alone = torch.cat([network(clip[:, :, t : t + 1]) for t in range(5)], dim=2)
    torch.testing.assert_close(network(clip), alone, rtol=0, atol=1e-12)
