"""The convolutions of VGG16 and VGG19."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vidiff.pretrained.frozen import load_weights

VGG = Literal["vgg16", "vgg16_hed", "vgg19"]
RELUS = (3, 8, 15)  # relu1_2, relu2_2 and relu3_3 of VGG16 in torchvision's `features`
TABLES: dict[VGG, str] = {"vgg16": "D", "vgg16_hed": "D", "vgg19": "E"}  # columns of the paper's table 1


def vgg16_features(key: Literal["vgg16", "vgg16_hed"], needed_by: str) -> nn.Sequential:
    """VGG16 up to relu3_3, see `vgg_features`."""
    return vgg_features(key, needed_by, RELUS[-1])


def vgg_features(key: VGG, needed_by: str, last: int) -> nn.Sequential:
    """VGG (Simonyan and Zisserman 2014, 1409.1556) up to a layer, torchvision's numbering of layers.

    Args:
        key: `vgg16`, `vgg19`: torchvision's ImageNet weights; `vgg16_hed`: the layers of VGG16 fine-tuned to find edges
            (Xie and Tu 2015, 1504.06375).
        needed_by: the setting that asks for it, for the message.
        last: number of the last layer.

    Raises:
        UsageError: the weights are missing or others.
    """
    weights = load_weights(key, needed_by)
    network = vgg_layers(key)[: last + 1]
    network.load_state_dict({k: weights[f"features.{k}"] for k in network.state_dict()})
    return network


def vgg_layers(key: VGG) -> nn.Sequential:
    """Convolutions, ReLUs and poolings of a VGG, its weights not set."""
    from torchvision.models.vgg import cfgs

    layers, c = [], 3
    for width in cfgs[TABLES[key]]:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.utils.skip_init(nn.Conv2d, c, width, 3, padding=1), nn.ReLU()]
            c = width
    return nn.Sequential(*layers)
