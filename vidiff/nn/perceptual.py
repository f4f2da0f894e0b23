"""Feature maps of clips from frozen networks that know images, for losses in their terms instead of pixels'."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from vidiff.clip import clip_to_frames
from vidiff.pretrained.frozen import Frozen, precise
from vidiff.pretrained.lite0 import lite0_network
from vidiff.pretrained.vgg import RELUS, vgg16_features
from vidiff.pretrained.weights import MANIFEST

FeatureMaps = Callable[[Tensor], list[Tensor]]
FeatureNetwork = Literal["lite0", "vgg16", "vgg16_hed"]


def feature_maps(name: FeatureNetwork) -> FeatureMaps:
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
    if name in ("vgg16", "vgg16_hed"):
        return _VGG16(name)
    raise ValueError(f"perceptual must be lite0, vgg16 or vgg16_hed, got {name!r}")


def _color_frames(clip: Tensor) -> Tensor:
    """(B, 1 or 3, T, H, W) -> (B*T, 3, H, W)."""
    return clip_to_frames(precise(clip)).expand(-1, 3, -1, -1)


class _Lite0(Frozen):
    def __init__(self):
        super().__init__(lite0_network("perceptual `lite0`"), MANIFEST["lite0"].sha256)

    def __call__(self, clip: Tensor) -> list[Tensor]:
        frames = _color_frames(clip)  # its input is (x/255 - 0.5)/0.5, which is [-1, 1]
        return self.network_for(frames).forward_intermediates(
            frames, indices=[0, 1, 2], stop_early=True, intermediates_only=True
        )


class _VGG16(Frozen):
    def __init__(self, key: Literal["vgg16", "vgg16_hed"]):
        super().__init__(vgg16_features(key, f"perceptual `{key}`"), MANIFEST[key].sha256)

    def __call__(self, clip: Tensor) -> list[Tensor]:
        x = _color_frames(clip)
        mean, std = (x.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x, maps = ((x + 1) / 2 - mean) / std, []
        for i, layer in enumerate(self.network_for(x)):
            x = layer(x)
            if i in RELUS:
                maps.append(x)
        return maps
