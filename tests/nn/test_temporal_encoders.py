"""Temporal encoders: shapes, the identity at the start, who sees whom, and ConvLSTM against its formula."""

from __future__ import annotations

import pytest
import torch

from vidiff.nn.blocks import add_spectral_norm, initialize
from vidiff.nn.temporal_encoders import ConvLSTM, TemporalEncoder

KINDS = ["lstm", "gru", "convlstm", "conv"]


def opened(channels: int, kind: str, bidirectional: bool = False) -> TemporalEncoder:
    encoder = TemporalEncoder(channels, kind, bidirectional)
    torch.nn.init.normal_(encoder.out)
    return encoder.double()


def clip(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_any_clip_keeps_its_shape_and_a_new_encoder_is_the_identity(kind, bidirectional):
    encoder = TemporalEncoder(4, kind, bidirectional)
    initialize(encoder, "dcgan")
    add_spectral_norm(encoder)
    for shape in [(2, 4, 5, 6, 3), (1, 4, 1, 1, 1), (1, 4, 17, 2, 2)]:
        x = torch.randn(shape)
        torch.testing.assert_close(encoder(x), x, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_which_frames_are_seen(kind, bidirectional):
    """Without `bidirectional` nothing of the future; `conv` no more than its radius."""
    encoder, frames, middle = opened(4, kind, bidirectional), 33, 16
    x = clip(1, 4, frames, 1, 1).requires_grad_()
    with torch.no_grad():
        for p in encoder.parameters():
            p.abs_()  # no dead units, no cancelling
    positive = x.abs()
    (grad,) = torch.autograd.grad(encoder(positive)[0, :, middle].sum(), x)
    seen = [i for i, g in enumerate(grad.abs().sum((0, 1, 3, 4)).tolist()) if g > 0]
    if kind == "conv":
        assert (encoder.radius, encoder.unbounded) == (7 if bidirectional else 14, False)
        assert seen == list(range(middle - encoder.radius, middle + 1 + (7 if bidirectional else 0)))
    else:
        assert encoder.unbounded
        assert seen[-1] == (frames - 1 if bidirectional else middle) and seen[0] < 10


@pytest.mark.parametrize("kind", ["lstm", "gru", "conv"])
def test_locations_are_treated_alike(kind):
    encoder, x = opened(4, kind, True), clip(2, 4, 5, 3, 4)
    order = torch.randperm(12)
    shuffled = x.flatten(3)[..., order].view_as(x)
    torch.testing.assert_close(encoder(shuffled), encoder(x).flatten(3)[..., order].view_as(x))


def test_convlstm_moves_with_the_picture():
    encoder, x = opened(4, "convlstm"), clip(1, 4, 2, 12, 12)
    moved = encoder(x.roll(2, dims=4)).roll(-2, dims=4)  # two frames see two pixels around
    torch.testing.assert_close(moved[..., 2:-4], encoder(x)[..., 2:-4])


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_frames_matters(kind):
    encoder, x = opened(4, kind, True), clip(1, 4, 6, 2, 2)
    assert not torch.allclose(encoder(x.flip(2)).flip(2), encoder(x), atol=1e-3)


def test_conv_moves_with_time():
    encoder, x = opened(4, "conv"), clip(1, 4, 40, 1, 1)
    torch.testing.assert_close(encoder(x[:, :, 5:])[:, :, 14:], encoder(x)[:, :, 19:])


def test_a_still_clip_stays_still_under_conv():
    encoder, x = opened(4, "conv", True), clip(1, 4, 1, 2, 2).expand(-1, -1, 9, -1, -1)
    torch.testing.assert_close(encoder(x), encoder(x)[:, :, :1].expand_as(x))


def test_convlstm_is_the_formula():
    """Pixel by pixel, with the gates' weights cut apart and the convolution written out."""
    layer, x = ConvLSTM(2, 3).double(), clip(1, 2, 3, 3, 4)
    torch.nn.init.normal_(layer.from_input.bias)
    by_gate = dict(
        zip("ifgo", zip(*(p.split(3) for p in (layer.from_input.weight[:, :, 0], layer.from_state.weight,
                                               layer.from_input.bias))))
    )  # fmt: skip

    def at(maps, kernel, row, column):
        total = torch.zeros(3, dtype=torch.float64)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if 0 <= row + dy < 3 and 0 <= column + dx < 4:
                    total = total + kernel[:, :, dy + 1, dx + 1] @ maps[:, row + dy, column + dx]
        return total

    sigmoid = lambda v: 1 / (1 + (-v).exp())  # noqa: E731
    h, c = torch.zeros(3, 3, 4, dtype=torch.float64), torch.zeros(3, 3, 4, dtype=torch.float64)
    out = layer(x)
    for t in range(3):
        new_h, new_c = h.clone(), c.clone()
        for row in range(3):
            for column in range(4):
                raw = {
                    gate: at(x[0, :, t], of_x, row, column) + at(h, of_h, row, column) + bias
                    for gate, (of_x, of_h, bias) in by_gate.items()
                }
                kept = sigmoid(raw["f"]) * c[:, row, column]
                new_c[:, row, column] = kept + sigmoid(raw["i"]) * torch.tanh(raw["g"])
                new_h[:, row, column] = sigmoid(raw["o"]) * torch.tanh(new_c[:, row, column])
        h, c = new_h, new_c
        torch.testing.assert_close(out[0, :, t], h)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_everything(kind):
    encoder, x = TemporalEncoder(4, kind, True), torch.randn(1, 4, 3, 2, 2)
    encoder(x).square().sum().backward()
    assert float(encoder.out.grad.abs().sum()) > 0  # the projection opens first ...
    torch.nn.init.normal_(encoder.out)
    encoder(x).square().sum().backward()
    assert all(float(p.grad.abs().sum()) > 0 for p in encoder.parameters())  # ... then all learn


def test_forgetting_is_slow_at_the_start():
    layer = ConvLSTM(2, 3)
    assert layer.from_input.bias.tolist() == [0.0] * 3 + [1.0] * 3 + [0.0] * 6


def test_wrong_words_are_refused():
    with pytest.raises(ValueError, match="lstm, gru, convlstm or conv"):
        TemporalEncoder(4, "transformer")
