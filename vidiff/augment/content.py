"""Content transformation: a trained network (or any function) as an augmentation of some of the clips."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kornia.augmentation import GeometricAugmentationBase3D
from torch import Tensor, nn

from vidiff.clip import signed_to_unit, unit_to_signed
from vidiff.errors import UsageError


class ContentTransform(GeometricAugmentationBase3D):
    """Pass some clips through a function, such as a trained translation network day -> night.

    Runs without gradients and only on the clips that were chosen. A module is put into eval mode and moved to the
    clips' device; its parameters do not become part of the pipeline.

    Args:
        transform: function of clips float (N, C, T, H, W) in [-1, 1] to clips of the same shape and range; in a YAML
            the path of a function, or `class_path` and `init_args` of a class whose objects can be called, such as
            `vidiff.inference.checkpoint.CheckpointTranslation`.
        p: probability per clip.
    Raises:
        UsageError: `transform` cannot be called, or changes the shape.
    """

    # No Callable[[Tensor], Tensor]: jsonargparse takes that for a factory of tensors and refuses every other class.
    def __init__(self, transform: Callable, p: float = 0.5) -> None:
        super().__init__(p=p)
        if not callable(transform):
            raise UsageError(f"ContentTransform: transform must be a function of clips, got {transform!r}")
        if isinstance(transform, nn.Module):
            transform.eval()
        self.__dict__["transform"] = transform  # past nn.Module, which would register it as part of the pipeline
        self.flags = {"transform": type(transform).__name__}

    def compute_transformation(self, input: Tensor, params: dict, flags: dict) -> Tensor:
        return self.identity_matrix(input)

    @torch.no_grad()
    def apply_transform(self, input: Tensor, params: dict, flags: dict, transform: Tensor | None = None) -> Tensor:
        function = self.__dict__["transform"]
        if isinstance(function, nn.Module):
            function.to(input.device)
        out = function(unit_to_signed(input))
        if out.shape != input.shape:
            raise UsageError(f"ContentTransform: clips {tuple(input.shape)} came back as {tuple(out.shape)}")
        return signed_to_unit(out)
