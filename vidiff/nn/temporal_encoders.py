"""Temporal encoders: a summary of the frames so far at each location, added to the features of a clip."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidiff.nn.blocks import Conv3d

TemporalKind = Literal["lstm", "gru", "convlstm", "conv"]
DILATIONS = (1, 2, 4)


class TemporalEncoder(nn.Module):
    """x + W_o core(x), where the core runs along time; W_o starts at 0, so that a new encoder is the identity.

    | kind | core | what a frame sees |
    |---|---|---|
    | `lstm`, `gru` | one cell for all, over the frames at each location | all frames before, its own location |
    | `convlstm` | `ConvLSTM`, 3 x 3 gates | all frames before, locations ever wider around |
    | `conv` | kernels of 3 frames, dilated by 1, 2, 4 (van den Oord et al. 2016, 1609.03499) | 14 frames before |

    `bidirectional` runs a second recurrent core from the end; `conv` is then symmetric: 7 frames to either side.
    W_o is no layer, but a plain parameter: initialisation by name and spectral norm, undefined at 0, pass it by.

    Args:
        channels: C of the clip, of the core and of the result.
        kind: see the table.
        bidirectional: frames depend on later ones too.

    Input and output: (B, C, T, H, W), any T, H and W.
    """

    def __init__(self, channels: int, kind: TemporalKind = "convlstm", bidirectional: bool = False):
        super().__init__()
        if kind not in ("lstm", "gru", "convlstm", "conv"):
            raise ValueError(f"a temporal encoder must be lstm, gru, convlstm or conv, got {kind!r}")
        self.kind = kind
        if kind == "conv":
            cores = [DilatedConvolutions(channels, symmetric=bidirectional)]
        else:
            cores = [_recurrent(channels, kind) for _ in range(2 if bidirectional else 1)]
        self.cores = nn.ModuleList(cores)
        self.out = nn.Parameter(torch.zeros(channels, channels * len(cores)))

    @property
    def unbounded(self) -> bool:
        """Whether a frame may depend on frames however far away."""
        return self.kind != "conv"

    @property
    def radius(self) -> int:
        """Frames on either side that a frame depends on, 0 where there is no bound."""
        return 0 if self.unbounded else self.cores[0].reach

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.cores[0](x)]
        if len(self.cores) == 2:
            seen.append(self.cores[1](x.flip(2)).flip(2))
        return x + F.conv3d(torch.cat(seen, dim=1), self.out[:, :, None, None, None])


def _recurrent(channels: int, kind: TemporalKind) -> nn.Module:
    if kind == "convlstm":
        return ConvLSTM(channels, channels)
    return EachLocation({"lstm": nn.LSTM, "gru": nn.GRU}[kind](channels, channels, batch_first=True))


class EachLocation(nn.Module):
    """A recurrent layer over the frames at each location, the same weights everywhere."""

    def __init__(self, layer: nn.LSTM | nn.GRU):
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> (B, hidden, T, H, W)."""
        b, c, t, h, w = x.shape
        rows = x.permute(0, 3, 4, 2, 1).reshape(b * h * w, t, c)
        out, _ = self.layer(rows)
        return out.reshape(b, h, w, t, -1).permute(0, 4, 3, 1, 2)  # (B, hidden, T, H, W)


class ConvLSTM(nn.Module):
    """The LSTM whose state is a map (Shi et al. 2015, 1506.04214, equation 3), * a 3 x 3 convolution, . elementwise:

        i, f, o = sigmoid(W_x* * x_t + W_h* * h_{t-1} + b_*)     g = tanh(W_xg * x_t + W_hg * h_{t-1} + b_g)
        c_t = f . c_{t-1} + i . g                                h_t = o . tanh(c_t)

    from h = c = 0. Deviation: no peephole terms W_c. c, whose weights would fix the height and width of a frame. The
    forget gate's bias starts at 1 (Gers et al. 2000), else c is halved in every frame. Outside of a frame there are
    zeros, as published.

    Args:
        c_in: channels of x.
        hidden: channels of h and c.
    """

    def __init__(self, c_in: int, hidden: int):
        super().__init__()
        self.hidden = hidden
        self.from_input = Conv3d(c_in, 4 * hidden, (1, 3, 3), padding=(0, 1, 1))  # i, f, g, o
        self.from_state = nn.Conv2d(hidden, 4 * hidden, 3, padding=1, bias=False)
        with torch.no_grad():
            self.from_input.bias.zero_()[hidden : 2 * hidden] = 1.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) -> h of every frame (B, hidden, T, H, W)."""
        inputs = self.from_input(x)  # (B, 4 hidden, T, H, W)
        h = c = inputs.new_zeros(x.shape[0], self.hidden, *x.shape[3:])
        states = []
        for t in range(x.shape[2]):
            i, f, g, o = (inputs[:, :, t] + self.from_state(h)).chunk(4, dim=1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            states.append(h)
        return torch.stack(states, dim=2)


class DilatedConvolutions(nn.Module):
    """Kernels of 3 frames, 1, 2 and 4 frames apart, ReLU between; before its ends a clip stands still.

    Args:
        channels: C.
        symmetric: as many frames ahead as before, else only frames before.
    """

    def __init__(self, channels: int, symmetric: bool):
        super().__init__()
        self.symmetric = symmetric
        self.layers = nn.ModuleList(Conv3d(channels, channels, (3, 1, 1), dilation=(d, 1, 1)) for d in DILATIONS)

    @property
    def reach(self) -> int:
        """Frames on either side that a frame depends on."""
        return sum(DILATIONS) * (1 if self.symmetric else 2)

    def forward(self, x: Tensor) -> Tensor:
        for i, (layer, d) in enumerate(zip(self.layers, DILATIONS)):
            ends = (d, d) if self.symmetric else (2 * d, 0)
            x = layer(F.pad(x.relu() if i else x, (0, 0, 0, 0, *ends), "replicate"))
        return x.relu()
