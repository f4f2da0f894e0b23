"""How the two players compare at the start of a training: nothing is changed by measuring, FLOPs by hand."""

from __future__ import annotations

import pytest
import torch
from helpers import TINY, Clips, quiet_trainer

from vidiff.models.dcgan import DCGAN
from vidiff.models.mocogan import MoCoGAN
from vidiff.nn.discriminators import ConvDiscriminator
from vidiff.training.summary import Players, count_flops


@pytest.mark.parametrize("family", [DCGAN, MoCoGAN])
def test_players_are_compared_at_the_start(family, capsys):
    model = family(**TINY)
    quiet_trainer(max_steps=3, callbacks=[Players(steps=2)]).fit(model, Clips())
    sizes, flops, norms = [x for x in capsys.readouterr().out.splitlines() if x.startswith("players:")]
    g, d = (sum(p.numel() for p in n.parameters()) for n in model.players.values())
    assert f"G {g:,} and D {d:,} parameters, G/D {g / d:.3g}" in sizes
    assert "FLOP a clip, G/D" in flops and "gradient norm (mean of 2 steps)" in norms
    plain = family(**TINY)  # looking changed nothing
    quiet_trainer(max_steps=3).fit(plain, Clips())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), plain.state_dict().values()))


def test_flops_by_hand():
    conv = torch.nn.Conv3d(3, 5, (2, 4, 4), stride=(1, 2, 2))
    x = torch.randn(1, 3, 4, 8, 8)
    out = 5 * 3 * 3 * 3
    assert count_flops([conv], lambda: conv(x)) == 2 * out * 3 * 2 * 4 * 4
    network = ConvDiscriminator(DCGAN(**TINY).spec)
    count_flops([network], lambda: network(torch.randn(2, 3, 4, 16, 16)))
    assert network.training and float(network.layers[3].running_mean.abs().sum()) == 0
