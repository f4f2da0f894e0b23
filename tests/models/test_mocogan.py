"""MoCoGAN: the published sizes, its loss terms, keyed motion, any length."""

from __future__ import annotations

import math

import pytest
import torch
import yaml
from helpers import TINY, Clips, fakes_of, losses_of, numbers, quiet_trainer

from vidiff.clip import ClipSpec
from vidiff.errors import UsageError
from vidiff.models.mocogan import MoCoGAN
from vidiff.nn.blocks import count_parameters
from vidiff.nn.moco import MoCoGenerator
from vidiff.paths import experiments_dir


def softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def mean(values) -> float:
    values = list(values)
    return sum(values) / len(values)


def test_the_published_network_to_the_parameter():
    content = yaml.safe_load((experiments_dir() / "peers" / "mocogan.yaml").read_text())
    model, data = content["model"]["init_args"], content["data"]["init_args"]
    sizes = {k: v for k, v in model.items() if not k.startswith("optimizer")}
    sizes |= {k: data[k] for k in ("num_frames", "resolution", "num_classes")}
    with torch.device("meta"):
        spec = ClipSpec(3, sizes["num_frames"], sizes["resolution"], sizes["width"], sizes["latent_dim"], 4)
        generator = MoCoGenerator(spec, sizes["motion_dim"])
    module = MoCoGAN(**sizes)
    assert count_parameters(generator) == count_parameters(module.generator) == 3_282_452
    assert count_parameters(module.discriminator["frame"]) == 663_296
    assert count_parameters(module.discriminator["clip"]) == 11_187_968
    assert sum(count_parameters(n) for n in module.players.values()) == 3_282_452 + 663_296 + 11_187_968 == 15_133_716
    assert module.generator.cell.input_size == module.generator.cell.hidden_size == 10
    real = torch.zeros(2, 3, 16, 64, 64)
    assert [x.shape for x in module.discriminator["clip"](real)] == [(2, 1), (2, 4)]


@pytest.mark.parametrize("num_classes", [None, 3])
def test_terms(num_classes):
    model = MoCoGAN(num_classes=num_classes, cls_weight=0.7, judge_noise=0.0, **TINY).double()
    batch = Clips(num_classes=num_classes).batch(0)
    batch["clip"] = batch["clip"].double()
    model.discriminator.eval()  # fixed statistics: the order of calls does not matter
    got_d = numbers(losses_of(model, "d", batch))
    got_g = numbers(losses_of(model, "g", batch))
    frame, clip = model.discriminator["frame"], model.discriminator["clip"]
    real, fake_d, fake_g = batch["clip"], fakes_of(model, "d", batch), fakes_of(model, "g", batch)

    def frame_logits(clips, *parts):
        return frame(model.one_frame(clips, batch["slot"], *parts)).flatten().tolist()

    expected_d = {
        "frame_real": mean(softplus(-x) for x in frame_logits(real, "real")),
        "frame_fake": mean(softplus(x) for x in frame_logits(fake_d, "d")),
        "clip_real": mean(softplus(-x) for x in clip(real)[0].flatten().tolist()),
        "clip_fake": mean(softplus(x) for x in clip(fake_d)[0].flatten().tolist()),
    }
    expected_g = {
        "frame": mean(softplus(-x) for x in frame_logits(fake_g, "g", 0)),
        "clip": mean(softplus(-x) for x in clip(fake_g)[0].flatten().tolist()),
    }
    if num_classes:
        for expected, clips in ((expected_d, real), (expected_g, fake_g)):
            p = clip(clips)[1].softmax(1)[range(4), batch["label"]]
            expected["class"] = 0.7 * mean(-math.log(x) for x in p.tolist())
    assert got_d == pytest.approx(expected_d, abs=1e-6) and got_g == pytest.approx(expected_g, abs=1e-6)


def test_a_longer_clip_begins_like_a_shorter_one():
    model = MoCoGAN(**TINY).eval()
    quiet_trainer(max_steps=2).fit(model, Clips())
    short, long = model.sample(2, num_frames=3), model.sample(2, num_frames=40)
    assert long.shape == (2, 3, 40, 16, 16) and model.sample(2).shape[2] == 4
    assert (long[:, :, :3].int() - short.int()).abs().max() <= 1
    assert model.sample(1, num_frames=1).shape[2] == 1


def test_content_stays_and_motion_moves():
    model = MoCoGAN(**TINY).eval()
    noise = model.motion_noise([0, 1], 4, "test")
    path = model.generator.motion(noise)
    state = noise[:, 0]
    for t in range(4):  # the GRU's own equations
        cell = model.generator.cell
        gi = noise[:, t + 1] @ cell.weight_ih.T + cell.bias_ih
        gh = state @ cell.weight_hh.T + cell.bias_hh
        (ri, zi, ni), (rh, zh, nh) = gi.chunk(3, 1), gh.chunk(3, 1)
        r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
        state = (1 - z) * torch.tanh(ni + r * nh) + z * state
        torch.testing.assert_close(path[:, t], state, rtol=1e-5, atol=1e-6)
    z = model.latents([0, 0])
    still = noise[:1, :1].expand(2, 5, -1).clone()
    a, b = model.generator(z, None, still)
    assert torch.allclose(a, b)


def test_windows_depend_on_the_slot_alone_and_begin_everywhere():
    model = MoCoGAN(max_start=3, **TINY)
    whole = model.window(model.generator, range(40), "d", 0)
    assert whole.shape == (40, 1 + 4, 10)
    torch.testing.assert_close(model.window(model.generator, range(30, 40), "d", 0), whole[30:])
    first = model.motion_noise(range(40), 4, "d", 0)[:, 1]
    assert 17 < sum(torch.equal(a, b) for a, b in zip(whole[:, 1], first)) < 33  # of 40: a half, and a quarter of it
    published = MoCoGAN(max_start=0, **TINY)
    expected = published.motion_noise(range(4), 4, "d", 0)
    assert torch.equal(published.window(published.generator, range(4), "d", 0), expected)
    with pytest.raises(UsageError, match="max_start"):
        MoCoGAN(max_start=-1, **TINY)


def test_noise_and_frames_depend_on_the_slot_alone():
    model = MoCoGAN(**TINY)
    whole, part = model.motion_noise(range(6), 4, "d", 0), model.motion_noise(range(3, 6), 4, "d", 0)
    assert torch.equal(whole[3:], part)
    clips = torch.arange(6.0).view(1, 1, 6, 1, 1).expand(4, 1, 6, 2, 2)
    first = model.one_frame(clips, range(4), "d")
    rest = model.one_frame(clips[2:], range(2, 4), "d")
    assert first.shape == (4, 1, 1, 2, 2) and torch.equal(first[2:], rest)
