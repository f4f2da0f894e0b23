"""The published 2-D networks: `experiments/peers/` parsed against the real signatures, parameters to the digit."""

from __future__ import annotations

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from vidiff.models import families
from vidiff.nn.blocks import count_parameters
from vidiff.paths import experiments_dir

PUBLISHED = {
    "cyclegan2d": (None, {"g": 2 * 11_378_179, "d": 2 * 2_764_737}, 28_285_832),
    "stargan2d": (5, {"g": 8_430_528, "d": 44_762_048}, 53_192_576),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_to_the_digit(name):
    domains, players, together = PUBLISHED[name]
    config = yaml.safe_load((experiments_dir() / "peers" / f"{name}.yaml").read_text())
    cls = families()[config["model"]["class_path"]]
    sizes = {k: config["data"]["init_args"][k] for k in ("num_frames", "resolution")}
    assert sizes == {"num_frames": 1, "resolution": 128}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(cls, "model", instantiate=False)
    parsed = parser.parse_object({"model": {**config["model"]["init_args"], **sizes, "num_classes": domains}})
    model = cls(**parser.instantiate(parsed).model)
    assert {p: count_parameters(n) for p, n in model.players.items()} == players
    assert sum(players.values()) == together
    if domains is None:
        assert model.history["a"].clips.shape == (50, 3, 1, 128, 128)
        assert model.cycle_weight == 10 and model.identity_weight == 0.5
    clip = torch.zeros(1, 3, 1, 128, 128, dtype=torch.uint8)
    assert model.translate(clip, 0, 1).shape == clip.shape
