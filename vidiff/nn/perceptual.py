"""Feature maps of clips from frozen networks that know images, for losses in their terms instead of pixels'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

from torch import Tensor, nn

from vidiff.clip import clip_to_frames
from vidiff.pretrained.frozen import Frozen, precise
from vidiff.pretrained.lite0 import lite0_network, random_lite0
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
        maps = Lite0("perceptual `lite0`")
        _ = maps.network  # what is missing is said now
        return maps
    if name in ("vgg16", "vgg16_hed"):
        return _VGG16(name)
    raise ValueError(f"perceptual must be lite0, vgg16 or vgg16_hed, got {name!r}")


def _color_frames(clip: Tensor) -> Tensor:
    """(B, 1 or 3, T, H, W) -> (B*T, 3, H, W)."""
    return clip_to_frames(precise(clip)).expand(-1, 3, -1, -1)


class Lite0(Frozen):
    """Maps of EfficientNet-Lite0 (Tan and Le 2019, 1905.11946): clips (B, 1 or 3, T, H, W) in [-1, 1] -> a map
    (B*T, C_l, H_l, W_l) of each stage, differentiable in the clips.

    The network is built when it is first needed: a model that was trained against it makes clips where it is missing.

    Args:
        needed_by: the setting that asks for it, for the message.
        stages: 0 to 4, of 16, 24, 40, 112 and 320 channels at strides 2, 4, 8, 16 and 32.
        weights: `imagenet`, from an installed package, or `random`, see `random_lite0`.
        seed: of random weights.
    """

    def __init__(
        self,
        needed_by: str,
        stages: Sequence[int] = (0, 1, 2),
        weights: Literal["imagenet", "random"] = "imagenet",
        seed: int = 0,
    ):
        self.needed_by, self.stages, self.weights, self.seed = needed_by, list(stages), weights, seed
        self.sha256 = MANIFEST["lite0"].sha256 if weights == "imagenet" else ""  # of no file

    @cached_property
    def network(self) -> nn.Module:
        if self.weights == "random":
            return random_lite0(self.seed, self.needed_by)
        return lite0_network(self.needed_by)

    def __call__(self, clip: Tensor) -> list[Tensor]:
        frames = _color_frames(clip)  # its input is (x/255 - 0.5)/0.5, which is [-1, 1]
        return self.network_for(frames).forward_intermediates(
            frames, indices=self.stages, stop_early=True, intermediates_only=True
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
