"""R3D-18 with weights of the published names and shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stand_ins import known
from torch.nn import functional as F
from torchvision.models.video import R3D_18_Weights, r3d_18

from vidiff import keyed
from vidiff.errors import UsageError
from vidiff.metrics import Evaluator, resolve_metrics
from vidiff.metrics.features import R3D18
from vidiff.pretrained.weights import MANIFEST


def test_the_file_is_the_one_of_torchvision():
    published = R3D_18_Weights.KINETICS400_V1
    assert published.url == MANIFEST["r3d18"].url and published.transforms().mean == list(R3D18.MEAN)
    assert published.transforms().std == list(R3D18.STD)


def test_features_are_those_before_the_last_layer(tmp_path, monkeypatch):
    monkeypatch.setenv("VIDIFF_WEIGHTS_DIR", str(tmp_path / "none"))
    with keyed.forked("a stand-in"):
        network = r3d_18(weights=None).eval()
    path = tmp_path / MANIFEST["r3d18"].file
    torch.save(network.state_dict(), path)
    with pytest.raises(UsageError, match="fd_r3d18"):
        resolve_metrics("fd_r3d18")
    with pytest.raises(UsageError, match="sha256|manifest"):
        resolve_metrics("fd_r3d18", weights=tmp_path)
    monkeypatch.setitem(MANIFEST, "r3d18", known(path, "r3d18"))
    state = torch.get_rng_state()
    (metric,) = resolve_metrics("fd_r3d18", weights=tmp_path)
    assert torch.equal(torch.get_rng_state(), state) and not metric.official
    clips = torch.randint(0, 256, (3, 3, 4, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    seen = {}
    network.fc.register_forward_pre_hook(lambda module, inputs: seen.update(pooled=inputs[0]))
    frames = torch.stack(
        [F.interpolate(c.float().transpose(0, 1), size=(112, 112), mode="bilinear", antialias=True) for c in clips]
    )
    with torch.no_grad():
        unit = (frames / 255 - torch.tensor(R3D18.MEAN)[:, None, None]) / torch.tensor(R3D18.STD)[:, None, None]
        network(unit.transpose(1, 2))
    found = metric.extractor(clips)
    np.testing.assert_allclose(found, seen["pooled"] @ metric.extractor.projection, rtol=1e-3, atol=1e-4)
    result = Evaluator([metric], lambda: [(range(3), clips)]).evaluate([(range(3), clips)])["fd_r3d18"]
    assert abs(result["value"]) < 1e-4 and result["protocol"]["extractor"] == "r3d18_112_p128"
