"""The first layers of VGG16."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vidiff.pretrained.frozen import load_weights

RELUS = (3, 8, 15)  # relu1_2, relu2_2 and relu3_3 in torchvision's `features`


def vgg16_features(key: Literal["vgg16", "vgg16_hed"], needed_by: str) -> nn.Sequential:
    """VGG16 (Simonyan and Zisserman 2014, 1409.1556) up to relu3_3, torchvision's numbering of layers.

    Args:
        key: `vgg16`: torchvision's ImageNet weights; `vgg16_hed`: the same layers fine-tuned to find edges (Xie and Tu
            2015, 1504.06375).
        needed_by: the setting that asks for it, for the message.

    Raises:
        UsageError: the weights are missing or others.
    """
    from torchvision.models.vgg import cfgs

    weights = load_weights(key, needed_by)
    layers, c = [], 3
    for width in cfgs["D"]:
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.utils.skip_init(nn.Conv2d, c, width, 3, padding=1), nn.ReLU()]
            c = width
    network = nn.Sequential(*layers[: RELUS[-1] + 1])
    network.load_state_dict({k: weights[f"features.{k}"] for k in network.state_dict()})
    return network
