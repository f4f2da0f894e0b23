"""Bilinear warps: by the formula, exact cases, against the library's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from vidiff.warp import warp_by_flow, warp_by_matrix


def test_warp_is_the_bilinear_formula():
    frames, field = torch.randn(2, 3, 5, 7).double(), 3 * torch.randn(2, 2, 5, 7).double()
    out = warp_by_flow(frames, field)
    for n, y, x in [(0, 0, 0), (0, 2, 3), (1, 4, 6), (1, 1, 5), (1, 3, 0)]:
        px = min(max(x + float(field[n, 0, y, x]), 0.0), 6.0)
        py = min(max(y + float(field[n, 1, y, x]), 0.0), 4.0)
        expected = sum(
            max(0.0, 1 - abs(px - i)) * max(0.0, 1 - abs(py - j)) * frames[n, :, j, i]
            for i in range(7)
            for j in range(5)
        )
        torch.testing.assert_close(out[n, :, y, x], expected)
    torch.testing.assert_close(warp_by_flow(frames, torch.zeros_like(field)), frames)
    grid = torch.stack(torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")[::-1], -1).double()
    place = (grid + field.permute(0, 2, 3, 1)) / torch.tensor([3.0, 2.0]) - 1
    library = F.grid_sample(frames, place, mode="bilinear", padding_mode="border", align_corners=True)
    torch.testing.assert_close(out, library)
    frames.requires_grad_()
    assert torch.autograd.gradcheck(lambda f: warp_by_flow(f, field), (frames,))


def clips(b=6, c=3, t=5, h=16, w=16):
    return torch.rand(b, c, t, h, w, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_warp_exact_cases_and_reference():
    clip, eye = clips(2), torch.eye(3).expand(2, 3, 3)
    assert torch.allclose(warp_by_matrix(clip, eye), clip, atol=1e-5)
    flip = torch.diag(torch.tensor([-1.0, 1, 1])).expand(2, 3, 3)
    assert torch.allclose(warp_by_matrix(clip, flip), clip.flip(-1), atol=1e-5)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]).expand(2, 3, 3)
    assert torch.allclose(warp_by_matrix(clip, quarter), clip.rot90(1, (-2, -1)), atol=1e-5)
    shift = torch.tensor([[1.0, 0, 3], [0, 1, 0], [0, 0, 1]]).expand(2, 3, 3)
    assert torch.allclose(
        warp_by_matrix(clip, shift), clip[..., [*range(3, 16), 14, 13, 12]], atol=1e-5
    )  # reflected border
    matrix = torch.eye(3).repeat(2, 1, 1)
    matrix[:, :2] += 0.3 * torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    # grid_sample in its own units: x_grid = 2 x_pixels / (size - 1), align_corners=True.
    theta = matrix[:, :2].clone()
    theta[:, :, 2] *= 2 / 15
    grid = nn.functional.affine_grid(theta, [2, 15, 16, 16], align_corners=True)
    expected = nn.functional.grid_sample(
        clip.reshape(2, 15, 16, 16), grid, padding_mode="reflection", align_corners=True
    )
    assert torch.allclose(warp_by_matrix(clip, matrix).reshape(2, 15, 16, 16), expected, atol=1e-4)
