"""3 x 3 convolutions with a quarter of the multiplications: Winograd's minimal filtering of tiles.

Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks", 1509.09308, F(4 x 4, 3 x 3).
"""

from __future__ import annotations

import torch
from torch import Tensor

OUT, KERNEL = 4, 3  # sides of what a tile gives, and of the kernel
IN = OUT + KERNEL - 1
# A polynomial of degree 5 is known by five values and its leading coefficient. Of ten sets of small fractions these
# lose least to rounding: 0, 1, -1, 2, -2, which are usual, two to four times as much.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)

# From which on it pays: with half the channels a tenth of the time was gained, with half the sides a tenth lost.
CHANNELS, AREA = 256, 32 * 32


def pays(clip: Tensor, weight: Tensor, padding: tuple[int, ...]) -> bool:
    """Whether `correlate` of the frames of a clip (B, C, T, H, W) is quicker than a direct convolution, and fits.

    On a CPU, in float32, at the size of the residual blocks of published networks; graphs that are recorded keep to
    the direct form.

    Args:
        weight: (K, C, 1, 3, 3), else it does not fit.
        padding: of the convolution over (T, H, W).
    """
    if torch.compiler.is_compiling() or torch.compiler.is_exporting() or tuple(weight.shape[2:]) != (1, KERNEL, KERNEL):
        return False
    h, w = (side + 2 * pad - KERNEL + 1 for side, pad in zip(clip.shape[3:], padding[1:]))
    fits = h % OUT == w % OUT == 0 and clip.dtype == weight.dtype == torch.float32 and clip.device.type == "cpu"
    return fits and min(weight.shape[:2]) >= CHANNELS and h * w >= AREA and not torch.is_autocast_enabled("cpu")


def _values(coefficients: int) -> Tensor:
    """Coefficients of a polynomial -> its values at the points and its leading coefficient, (6, coefficients)."""
    at_points = torch.tensor(POINTS, dtype=torch.float64)[:, None] ** torch.arange(coefficients)
    leading = torch.eye(coefficients, dtype=torch.float64)[-1:]
    return torch.cat([at_points, leading])


def _both_ways(matrix: Tensor) -> Tensor:
    """Of a row -> of the rows and columns of a square, flattened."""
    return torch.kron(matrix, matrix).contiguous()


# Values of a product of polynomials are products of values. Its transpose is a correlation: y = A' (G g * B' d).
FROM_TILE = _both_ways(torch.linalg.inv(_values(IN)).T)  # B': (36, 36)
FROM_KERNEL = _both_ways(_values(KERNEL))  # G: (36, 9)
TO_OUTPUT = _both_ways(_values(OUT).T)  # A': (16, 36)


def correlate(x: Tensor, weight: Tensor) -> Tensor:
    """`torch.nn.functional.conv2d(x, weight)` up to rounding, and so are its derivatives of any order.

    Args:
        x: (N, C, 4 h + 2, 4 w + 2).
        weight: (K, C, 3, 3).
    """
    return _Correlate.apply(x, weight)


class _Correlate(torch.autograd.Function):
    """Keeps x and the weight alone: what is made of them for the products is six times as much, and soon made again."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _outputs(_of_kernels(weight) @ _of_tiles(x), x.shape)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        products = _from_outputs(gradient)  # (36, K, tiles)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = _to_tiles(_of_kernels(weight).mT @ products, x.shape)
        if ctx.needs_input_grad[1]:
            of_weight = _to_kernels(products @ _of_tiles(x).mT)
        return of_x, of_weight


def _of_kernels(weight: Tensor) -> Tensor:
    """(K, C, 3, 3) -> (36, K, C)."""
    return (FROM_KERNEL.to(weight) @ weight.flatten(0, 1).flatten(1).T).unflatten(1, weight.shape[:2])


def _to_kernels(values: Tensor) -> Tensor:
    """The transpose of `_of_kernels`."""
    rows = FROM_KERNEL.to(values).T @ values.flatten(1)  # (9, K*C)
    return rows.T.reshape(*values.shape[1:], KERNEL, KERNEL)


def _of_tiles(x: Tensor) -> Tensor:
    """(N, C, 4 h + 2, 4 w + 2) -> (36, C, N*h*w)."""
    tiles = x.unfold(2, IN, OUT).unfold(3, IN, OUT).permute(4, 5, 1, 0, 2, 3)  # (6, 6, C, N, h, w)
    return (FROM_TILE.to(x) @ tiles.reshape(IN * IN, -1)).unflatten(1, (x.shape[1], -1))


def _to_tiles(values: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of `_of_tiles`: (36, C, N*h*w) -> (N, C, 4 h + 2, 4 w + 2)."""
    n, c, *sides = shape
    tiles = (FROM_TILE.to(values).T @ values.flatten(1)).view(IN * IN, c, n, -1)  # (36, C, N, h*w)
    columns = tiles.permute(2, 1, 0, 3).reshape(n, c * IN * IN, -1)
    return torch.nn.functional.fold(columns, sides, IN, stride=OUT)


def _outputs(values: Tensor, shape: torch.Size) -> Tensor:
    """(36, K, N*h*w) -> (N, K, 4 h, 4 w); the shape is the input's."""
    h, w = shape[2] // OUT, shape[3] // OUT
    tiles = (TO_OUTPUT.to(values) @ values.flatten(1)).view(OUT, OUT, values.shape[1], shape[0], h, w)
    return tiles.permute(3, 2, 4, 0, 5, 1).reshape(shape[0], values.shape[1], OUT * h, OUT * w)


def _from_outputs(outputs: Tensor) -> Tensor:
    """The transpose of `_outputs`: (N, K, 4 h, 4 w) -> (36, K, N*h*w)."""
    tiles = outputs.unflatten(3, (-1, OUT)).unflatten(2, (-1, OUT)).permute(3, 5, 1, 0, 2, 4)  # (4, 4, K, N, h, w)
    return (TO_OUTPUT.to(outputs).T @ tiles.reshape(OUT * OUT, -1)).unflatten(1, (outputs.shape[1], -1))
