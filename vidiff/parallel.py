"""More than one process: a strategy for two networks in one module, and BatchNorm over the global batch.

DistributedDataParallel assumes that one backward reaches every parameter; here each backward reaches one player.
`GameStrategy` therefore leaves the module bare, and `VideoModule` averages the gradients of the player that is
about to step: as exact, half the traffic, and indifferent to how often each player moves.
"""

from __future__ import annotations

import os
import re
import signal
import threading
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.utilities.distributed import _set_num_threads_if_needed
from lightning.pytorch.plugins.layer_sync import LayerSync
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import Tensor, nn

from vidiff.watch import PATIENCE_S, Watch


def world_size() -> int:
    """Processes in the group, 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number in the group, 0 without one."""
    return dist.get_rank() if world_size() > 1 else 0


class _AllReduceSum(torch.autograd.Function):
    """Sum over processes; its derivative is the sum of the derivatives over processes."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.contiguous().clone()
        dist.all_reduce(x)
        return x

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        return _AllReduceSum.apply(grad)


class GlobalBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm over the clips of all processes, on any device (torch's SyncBatchNorm refuses the CPU).

    mean = sum_r sum x / N, var = sum_r sum (x - mean)^2 / N with N elements over all processes, so that 2 processes
    with B clips equal 1 process with 2B. Sums are float32 at least: those of half precision overflow.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or world_size() == 1 or getattr(self, "alone", False):
            return super().forward(x)
        dims, precision = (0, 2, 3, 4), x.dtype
        x = x.float() if precision in (torch.float16, torch.bfloat16) else x
        # Every process holds the same number of elements: training batches are never ragged.
        count = x.numel() / x.shape[1] * world_size()
        mean = _AllReduceSum.apply(x.sum(dims)) / count
        centred = x - mean[:, None, None, None]
        var = _AllReduceSum.apply(centred.square().sum(dims)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            m = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
            self.running_mean.lerp_(mean.detach().to(self.running_mean), m)
            self.running_var.lerp_((var.detach() * count / (count - 1)).to(self.running_var), m)
        scale = (var + self.eps).rsqrt()
        if self.weight is None:  # without a scale and a shift of its own
            return (centred * scale[:, None, None, None]).to(precision)
        scale = self.weight * scale
        return (centred * scale[:, None, None, None] + self.bias[:, None, None, None]).to(precision)


class GlobalLayerSync(LayerSync):
    """Turns every BatchNorm3d of a module into `GlobalBatchNorm3d`, keeping parameters, buffers and key names."""

    def apply(self, model: nn.Module) -> nn.Module:
        for m in model.modules():
            if type(m) is nn.BatchNorm3d:
                m.__class__ = GlobalBatchNorm3d
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        for m in model.modules():
            if type(m) is GlobalBatchNorm3d:
                m.__class__ = nn.BatchNorm3d
        return model


class _Launcher(_SubprocessScriptLauncher):
    """Starts the other processes, and a `Watch` in the place of Lightning's observer, which kills without a word."""

    watch: Watch | None = None
    patience = PATIENCE_S

    def launch(self, function, *args, trainer=None, **kwargs) -> Any:
        self.cluster_environment.validate_settings(num_devices=self.num_processes, num_nodes=self.num_nodes)
        if not self.cluster_environment.creates_processes_externally:
            os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else the store's stack is shown when it is gone
            self._call_children_scripts()
        _set_num_threads_if_needed(num_processes=self.num_processes)
        self.watch = Watch(self.num_processes * self.num_nodes, self.procs, self.patience)
        return function(*args, **kwargs)


class GameStrategy(DDPStrategy):
    """Processes that start from equal states and average gradients by hand; see the head of this file.

    Args:
        patience: seconds of silence after which a process counts as stopped, see `vidiff.watch`.
        kwargs: as `DDPStrategy`.
    """

    def __init__(self, patience: float = PATIENCE_S, **kwargs: Any):
        super().__init__(**kwargs)
        self.patience = patience

    def _configure_launcher(self) -> None:
        self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes)
        self._launcher.patience = self.patience

    @property
    def watch(self) -> Watch | None:
        return getattr(self._launcher, "watch", None)

    def setup_distributed(self) -> None:
        super().setup_distributed()
        if self.watch is not None and world_size() > 1:
            self.watch.begin(dist.distributed_c10d._get_default_store(), rank())

    def on_train_start(self) -> None:
        # Lightning's own handler answers with a broadcast, in the middle of whatever the others are sending.
        if self.watch is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self.watch.terminate)

    def on_exception(self, exception: BaseException) -> None:
        if self.watch is not None:
            if re.search("gloo|nccl|connection|timed? ?out|store", str(exception), re.I):
                self.watch.verdict()
            self.watch.stop()
        super().on_exception(exception)

    def teardown(self) -> None:
        super().teardown()
        if self.watch is not None:
            self.watch.stop()

    def setup(self, trainer) -> None:
        if self._layer_sync is not None:
            self._layer_sync = GlobalLayerSync()
        super().setup(trainer)

    def configure_ddp(self) -> None:
        with torch.no_grad():
            for tensor in [*self.model.parameters(), *self.model.buffers()]:
                dist.broadcast(tensor, 0)


@torch.no_grad()
def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace each gradient by its mean over processes, in one message.

    Parameters without a gradient on this process have none on any: every process plays the same move.
    """
    grads = [p.grad for p in parameters if p.grad is not None]
    if world_size() == 1 or not grads:
        return
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world_size()
    for g, mean in zip(grads, flat.split([g.numel() for g in grads])):
        g.copy_(mean.view_as(g))


@torch.no_grad()
def broadcast_buffers(module: nn.Module) -> None:
    """Give every process the floating-point buffers (BatchNorm statistics) of process 0, in one message."""
    buffers = [b for b in module.buffers() if b.is_floating_point()]
    if world_size() == 1 or not buffers:
        return
    flat = torch.cat([b.flatten() for b in buffers])
    dist.broadcast(flat, 0)
    for b, value in zip(buffers, flat.split([b.numel() for b in buffers])):
        b.copy_(value.view_as(b))


@torch.no_grad()
def gather_batch(x: Tensor) -> Tensor:
    """(B, ...) of every process, in rank order: the global batch (world * B, ...). B is the same everywhere."""
    if world_size() == 1:
        return x.detach()
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


@torch.no_grad()
def sum_over_processes(x: Tensor) -> Tensor:
    """The sum of a tensor over processes, on its device."""
    x = x.detach().clone()
    if world_size() > 1:
        dist.all_reduce(x)
    return x


@torch.no_grad()
def on_every_process(flag: Tensor) -> bool:
    """Whether a boolean scalar is true on every process, so that all of them take the same branch."""
    if world_size() > 1:
        flag = flag.to(torch.uint8)
        dist.all_reduce(flag, dist.ReduceOp.MIN)
    return bool(flag)


@torch.no_grad()
def mean_over_processes(values: dict[str, Tensor]) -> dict[str, float]:
    """The mean over processes of every scalar, as Python floats."""
    if not values:
        return {}
    stacked = torch.stack([v.detach().double().reshape(()) for v in values.values()])
    if world_size() > 1:
        dist.all_reduce(stacked)
        stacked /= world_size()
    return dict(zip(values, stacked.tolist()))
