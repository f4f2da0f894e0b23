"""What the networks here have in common: norms and initial weights by name, class embeddings, sizes of stages."""

from __future__ import annotations

from typing import Callable, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from vidiff.clip import ClipSpec
from vidiff.nn import winograd

NetworkFactory = Callable[[ClipSpec], nn.Module]
Norm = Literal["batch", "layer", "instance", "none"]
Init = Literal["dcgan", "xavier", "kaiming", "orthogonal"]
GROUP = 4  # clips that share a standard deviation in `minibatch_stddev`


def _one_clip(x: Tensor) -> bool:
    """Whether PyTorch would fall back to its slow kernel (see `Conv3d`); graphs that are recorded keep to one form."""
    if torch.compiler.is_compiling() or torch.compiler.is_exporting():  # before the size is looked at: it may be any
        return False
    return len(x) == 1 and x.device.type == "cpu"


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` that a single clip does not slow down on a CPU, with fewer products where `winograd` pays.

    PyTorch hands a batch of one with kernels of at most 3 and C T H up to 20,480 to a plain kernel instead of oneDNN's,
    which took 2 to 2.5 times as long, forward and backward. Within frames and within pixels it is a convolution in two
    dimensions, of as many pictures as there are frames, or of one picture of T rows.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        plain = self.padding_mode == "zeros" and not isinstance(self.padding, str)
        if plain and self._steps_by_pixels() and winograd.pays(input, weight, self.padding):
            frames = F.pad(input.transpose(1, 2).flatten(0, 1), [self.padding[2]] * 2 + [self.padding[1]] * 2)
            out = winograd.correlate(frames, weight.squeeze(2))  # (B*T, C', H', W')
            out = out if bias is None else out + bias[:, None, None]
            return out.unflatten(0, (len(input), -1)).transpose(1, 2)
        if not (plain and _one_clip(input)):
            return super()._conv_forward(input, weight, bias)
        kernel, stride, padding, dilation = self.kernel_size, self.stride, self.padding, self.dilation
        if (kernel[0], stride[0], padding[0]) == (1, 1, 0):
            frames = input.squeeze(0).transpose(0, 1)  # (1, C, T, H, W) -> (T, C, H, W)
            out = F.conv2d(frames, weight.squeeze(2), bias, stride[1:], padding[1:], dilation[1:], self.groups)
            return out.transpose(0, 1).unsqueeze(0)
        if (*kernel[1:], *stride[1:], *padding[1:]) == (1, 1, 1, 1, 0, 0):
            rows = input.flatten(3)  # (1, C, T, H*W)
            sizes = (stride[0], 1), (padding[0], 0), (dilation[0], 1)
            return F.conv2d(rows, weight.flatten(3), bias, *sizes, self.groups).unflatten(3, input.shape[3:])
        return super()._conv_forward(input, weight, bias)

    def _steps_by_pixels(self) -> bool:
        """Whether it is a correlation of each frame, no more."""
        return self.groups == 1 and (*self.stride, *self.dilation, self.padding[0]) == (1, 1, 1, 1, 1, 1, 0)


class ConvTranspose3d(nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` that a single clip does not slow down on a CPU, see `Conv3d`."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        sizes = (self.stride, self.padding, self.output_padding)
        in_frames = self.kernel_size[0] == 1 and [s[0] for s in sizes] == [1, 0, 0]
        if output_size is not None or not in_frames or not _one_clip(input):
            return super().forward(input, output_size)
        frames = input.squeeze(0).transpose(0, 1)  # (1, C, T, H, W) -> (T, C, H, W)
        sizes = [s[1:] for s in sizes]
        out = F.conv_transpose2d(frames, self.weight.squeeze(2), self.bias, *sizes, self.groups, self.dilation[1:])
        return out.transpose(0, 1).unsqueeze(0)


class _Leaky(torch.autograd.Function):
    """leaky_relu(x), whose derivative with respect to x is a constant where it is differentiated once more."""

    @staticmethod
    def forward(ctx, x: Tensor, slope: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        ctx.set_materialize_grads(False)  # no gradient stays none, and does not become zeros
        return F.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        if gradient is None:
            return None, None
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():  # of a penalty: what is made here is differentiated
            return torch.where(x.detach() > 0, gradient, gradient * ctx.slope), None
        return torch.ops.aten.leaky_relu_backward(gradient, x, ctx.slope, False), None


def leaky_relu(x: Tensor, slope: float) -> Tensor:
    """`torch.nn.functional.leaky_relu` for networks whose gradient is penalized: the same values and gradients.

    Its second derivative is zero. PyTorch sends these zeros back through the whole network, all convolutions with
    their weights, which was 45 % of a gradient penalty; here nothing is sent.
    """
    if x.requires_grad and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _Leaky.apply(x, slope)
    return F.leaky_relu(x, slope)


class LeakyReLU(nn.LeakyReLU):
    """`torch.nn.LeakyReLU` by `leaky_relu`; for discriminators."""

    def forward(self, input: Tensor) -> Tensor:
        return leaky_relu(input, self.negative_slope)


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """A normalisation of clips (B, C, T, H, W) by name.

    `batch`: statistics over (B, T, H, W) (Ioffe and Szegedy 2015, 1502.03167); `layer`: per clip over (C, T, H, W)
    (Ba et al. 2016, 1607.06450, as a one-group GroupNorm); `instance`: per clip and channel (Ulyanov et al. 2016,
    1607.08022); `none`: identity. All but the last have a learned scale and shift.
    """
    if norm == "batch":
        return nn.BatchNorm3d(channels)
    if norm == "layer":
        return nn.GroupNorm(1, channels)
    if norm == "instance":
        return nn.InstanceNorm3d(channels, affine=True)
    if norm == "none":
        return nn.Identity()
    raise ValueError(f"norm must be batch, layer, instance or none, got {norm!r}")


def mixes_clips(module: nn.Module) -> list[str]:
    """What makes the output for one clip depend on the others of its batch: BatchNorm, minibatch standard deviation.

    The second is found by the attribute `minibatch_std` of a network.
    """
    batch_norm = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())
    minibatch_std = any(getattr(m, "minibatch_std", False) is True for m in module.modules())
    return ["BatchNorm"] * batch_norm + ["minibatch standard deviation"] * minibatch_std


def initialize(module: nn.Module, init: Init) -> None:
    """Initialise all convolutions, linear layers and norms of `module` in place.

    `dcgan`: weights N(0, 0.02), norm scales N(1, 0.02) (Radford et al. 2016, 1511.06434); `xavier`: Glorot and Bengio
    2010, uniform; `kaiming`: He et al. 2015 (1502.01852) for a leaky slope of 0.2; `orthogonal`: Saxe et al. 2014
    (1312.6120). Biases are zero.
    """
    for m in module.modules():
        if isinstance(m, nn.modules.conv._ConvNd | nn.Linear):
            if init == "dcgan":
                nn.init.normal_(m.weight, 0.0, 0.02)
            elif init == "xavier":
                nn.init.xavier_uniform_(m.weight)
            elif init == "kaiming":
                nn.init.kaiming_normal_(m.weight, a=0.2)
            elif init == "orthogonal":
                nn.init.orthogonal_(m.weight)
            else:
                raise ValueError(f"init must be dcgan, xavier, kaiming or orthogonal, got {init!r}")
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.BatchNorm3d | nn.GroupNorm | nn.InstanceNorm3d) and m.weight is not None:
            nn.init.normal_(m.weight, 1.0, 0.02 if init == "dcgan" else 0.0)
            nn.init.zeros_(m.bias)


def add_spectral_norm(module: nn.Module) -> None:
    """Put spectral normalisation (Miyato et al. 2018, 1802.05957) on every convolution and linear layer, in place."""
    for m in list(module.modules()):
        if isinstance(m, nn.modules.conv._ConvNd | nn.Linear):
            parametrizations.spectral_norm(m)


def minibatch_stddev(x: Tensor) -> Tensor:
    """(B, C, T, H, W) -> (B, C + 1, T, H, W): a last channel says how much neighboring clips of the batch differ.

    Karras et al. 2018, 1710.10196. The standard deviation over groups of up to 4 consecutive clips, as equal in size as
    can be (a batch of 7: 4 and 3), averaged over channels, time and space. Groups are those of one process on several
    too, when its batch is a multiple of 4.
    """
    b = x.shape[0]
    groups = x.flatten(1).float().tensor_split(-(-b // GROUP))
    deviation = [(g.var(0, unbiased=False) + 1e-8).sqrt().mean().expand(len(g)) for g in groups]
    shown = torch.cat(deviation).to(x.dtype).view(b, 1, 1, 1, 1)
    return torch.cat([x, shown.expand(b, 1, *x.shape[2:])], dim=1)


class ClassEmbedding(nn.Module):
    """Labels (B,) int64, or shares of the classes (B, num_classes) that sum to 1 -> vectors (B, dim).

    A label outside of 0 to num_classes - 1 is an IndexError on the CPU and an assertion of the kernel on CUDA.

    Raises:
        ValueError: there are no labels.
    """

    def __init__(self, num_classes: int, dim: int):
        super().__init__()
        self.table = nn.Embedding(num_classes, dim)

    def forward(self, label: Tensor | None) -> Tensor:
        if label is None:
            raise ValueError(f"this network is conditional on {self.table.num_embeddings} classes: pass labels")
        if label.is_floating_point():  # between classes
            return label.to(self.table.weight.dtype) @ self.table.weight
        return self.table(label)


def time_doublings(num_frames: int, stages: int) -> int:
    """How many of `stages` factor-2 stages also act on time, so that at least two frames (or one) are left."""
    k = 0
    while k < stages and -(-num_frames // 2 ** (k + 1)) >= 2:
        k += 1
    return k


def spatial_stages(resolution: int) -> int:
    """Number of factor-2 stages between a 4x4 grid and `resolution`.

    Raises:
        ValueError: `resolution` is not a power of two from 8 to 256.
    """
    if resolution not in (8, 16, 32, 64, 128, 256):
        raise ValueError(f"resolution must be a power of two from 8 to 256, got {resolution}")
    return resolution.bit_length() - 3


def ladder(spec: ClipSpec) -> tuple[int, int]:
    """Factor-2 stages between a 4x4 grid and the clip, and how many of them also act on time.

    Raises:
        ValueError: sizes out of range.
    """
    check_frames(spec.num_frames)
    stages = spatial_stages(spec.resolution)
    return stages, time_doublings(spec.num_frames, stages)


def check_frames(num_frames: int) -> None:
    """Raise ValueError unless 1 <= num_frames <= 64."""
    if not 1 <= num_frames <= 64:
        raise ValueError(f"num_frames must be from 1 to 64, got {num_frames}")


def count_parameters(module: nn.Module) -> int:
    """Number of trainable scalars."""
    return sum(p.numel() for p in module.parameters())
