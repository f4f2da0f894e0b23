"""Inception-v3 of TensorFlow 2015, as torch-fidelity builds it."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from vidiff import keyed
from vidiff.errors import UsageError


def fidelity_available() -> bool:
    """Whether torch-fidelity, which has the architecture, is installed."""
    return importlib.util.find_spec("torch_fidelity") is not None


def inception_trunk(file: Path) -> nn.Sequential:
    """The layers from stem to average pool with the weights of a verified file: frames (N, 3, 299, 299) in [-1, 1] ->
    (N, 2048, 1, 1).

    Raises:
        UsageError: torch-fidelity is missing, or the file holds other contents.
    """
    if not fidelity_available():
        raise UsageError("fid needs the package torch-fidelity: pip install 'vidiff[fid]'")
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        # The library's own loader unpickles freely: it is given bytes written here from plain tensors instead.
        plain = io.BytesIO()
        torch.save(state, plain)
        plain.seek(0)
        with keyed.forked("inception"):  # building a network draws from the global RNG
            net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=plain)
    except Exception as error:
        raise UsageError(f"{file}: not the Inception weights that fid is defined by: {error}") from error
    # Children stand in the order of the forward pass, stem to average pool; the last is the classifier.
    return nn.Sequential(*list(net.children())[:-1]).requires_grad_(False).eval()


def resize_like_tensorflow1(frames: Tensor) -> Tensor:
    """Frames (N, C, H, W) -> (N, C, 299, 299): bilinear on TensorFlow 1's grid, without antialias."""
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    return interpolate_bilinear_2d_like_tensorflow1x(frames, size=(299, 299), align_corners=False)
