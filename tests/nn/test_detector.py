"""The detector's network: shapes, any length and size, and every place sees its whole clip."""

from __future__ import annotations

import torch

from vidiff.nn.detector import ClipDetector, residues


def test_shapes_of_any_length_and_size():
    network = ClipDetector(num_classes=4, width=4, blocks=1).eval()
    for t, h, w in ((16, 32, 32), (8, 16, 24), (2, 64, 32)):
        logits, places = network(torch.rand(2, 3, t, h, w) * 2 - 1)
        assert logits.shape == (2, 4) and places.shape == (2, t, h // 2, w // 2)


def test_a_clip_is_judged_by_itself_and_each_place_by_all_of_it():
    torch.manual_seed(0)
    network = ClipDetector(width=4, blocks=1).eval()
    clips = (torch.rand(3, 3, 8, 32, 32) * 2 - 1).requires_grad_()
    logits, places = network(clips)
    (gradient,) = torch.autograd.grad(places[0, 0, 0, 0], clips)
    assert (gradient[1:] == 0).all() and gradient[0, :, -1, -8:, -8:].abs().max() > 0
    alone = network(clips[:1])
    assert torch.allclose(alone[0], logits[:1], atol=1e-5) and torch.allclose(alone[1], places[:1], atol=1e-5)


def test_residues_are_what_they_say():
    clip = torch.rand(1, 3, 4, 8, 8, dtype=torch.float64)
    x = residues(clip)
    assert torch.equal(x[:, :3], clip)
    inner = clip[0, 0, 1, 2:5, 3:6]
    assert torch.isclose(x[0, 3, 1, 3, 4], 4 * (inner[1, 1] - inner.mean()))
    assert torch.allclose(x[:, 6:, 1:], 4 * (clip[:, :, 1:] - clip[:, :, :-1])) and not x[:, 6:, 0].any()
