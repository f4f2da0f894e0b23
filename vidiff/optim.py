"""Adam with scalar betas, so that a command line or a sweep can set one of them."""

from __future__ import annotations

from collections.abc import Iterable

import torch


class Adam(torch.optim.Adam):
    """Kingma and Ba 2015, 1412.6980, with `beta1` and `beta2` as two numbers; otherwise torch.optim.Adam.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        beta1, beta2: decay of the first and second moment.
        eps: added to the root of the second moment.
    """

    def __init__(self, params: Iterable, lr: float = 2e-4, beta1: float = 0.5, beta2: float = 0.999, eps: float = 1e-8):
        super().__init__(params, lr=lr, betas=(beta1, beta2), eps=eps)
