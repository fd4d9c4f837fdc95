"""One process or many, on CPU or CUDA: the processes that torchrun started.

Every process draws its share of the same global batch. ``DistributedDataParallel`` averages the gradients, batch norm
takes its statistics over all processes: N processes give the losses of one, up to the order in which floats are added.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from speech2vid.errors import ConfigError, TrainingError
from speech2vid.runtime.devices import choose_device

# Buffers are the same in all processes already. The keyword's name in PyTorch 2.13, and before.
_SYNC_BUFFERS = ("forward_sync_buffers", "broadcast_buffers")
_NO_BUFFERS: dict[str, Any] = {
    next(name for name in _SYNC_BUFFERS if name in inspect.signature(DistributedDataParallel).parameters): False
}


@dataclass(frozen=True)
class Distributed:
    """This process among its peers.

    Attributes:
        rank: its number; process 0 writes all files.
        count: number of processes.
        device: the device it computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """Return this process's items of a batch. ConfigError if the batch cannot be divided evenly."""
        if batch % self.count:
            raise ConfigError(
                f"a batch of {batch} cannot be divided among {self.count} processes",
                "use a multiple of the number of processes",
            )
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, values: Tensor) -> None:
        """Replace ``values`` by their mean over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
            values /= self.count

    def broadcast(self, value: float) -> float:
        """Return the first process's value in every process."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def barrier(self) -> None:
        """Wait for the first process: files that it wrote before can be read after."""
        self.broadcast(0.0)

    def parallel(self, module: nn.Module) -> nn.Module:
        """Return ``module`` with gradients and batch-norm statistics averaged over the processes.

        All processes start from the first one's weights. Unused parameters are looked for in every step, which also
        keeps the order of the gradients in the all-reduce the same in all steps: a resumed run repeats an unbroken one.
        """
        if self.count == 1:
            return module
        for each in module.modules():
            if isinstance(each, _BatchNorm):
                each.__class__ = _SYNCHRONISED[type(each)]
        return DistributedDataParallel(module, find_unused_parameters=True, **_NO_BUFFERS)


@contextlib.contextmanager
def start_distributed(device: str = "auto") -> Iterator[Distributed]:
    """Join the processes that torchrun started; without torchrun, there is one.

    Args:
        device: ``auto`` (CUDA where available), ``cpu`` or ``cuda``.

    Raises:
        ConfigError: no such device.
        TrainingError: another process ended, so that this one cannot go on.
    """
    there = {"cuda": torch.cuda.is_available(), "cpu": True}
    on_cuda = choose_device(device, there, instead="install a PyTorch with CUDA") != "cpu"
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_cuda else torch.device("cpu")
    if on_cuda:
        torch.cuda.set_device(local)
    else:
        torch.set_flush_denormal(True)  # the EMA decays into denormals, which halve the speed
    if count > 1:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Distributed(rank, count, local)
    except RuntimeError as error:
        if count > 1 and _connection_lost(error):
            raise TrainingError(
                f"process {rank} lost the connection to another process", "that process's own message says why it ended"
            ) from error
        raise
    finally:
        if count > 1:
            dist.destroy_process_group()


def _connection_lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)


class _Sum(torch.autograd.Function):
    """Sum of a tensor over the processes, with gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        values = values.clone()
        dist.all_reduce(values)
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


class _Synchronised(_BatchNorm):
    """Batch norm over the batches of all processes, which are of equal size. ``torch.nn.SyncBatchNorm`` needs CUDA."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        axes = [axis for axis in range(maps.dim()) if axis != 1]
        local = torch.stack([maps.float().mean(axes), maps.float().var(axes, unbiased=False)])
        place = torch.zeros(dist.get_world_size(), 1, 1, device=maps.device)
        place[dist.get_rank()] = 1.0
        means, variances = _Sum.apply(place * local).unbind(1)  # type: ignore[no-untyped-call]
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)  # E[x²] − E[x]² would lose digits
        count = maps.numel() // maps.shape[1] * dist.get_world_size()
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        momentum = 0.1 if self.momentum is None else self.momentum
        with torch.no_grad():
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), momentum)
            self.num_batches_tracked.add_(1)
        shape = [1, -1] + [1] * (maps.dim() - 2)
        scale = self.weight * (variance + self.eps).rsqrt()
        normal: Tensor = maps * scale.view(shape) + (self.bias - mean * scale).view(shape)
        return normal


class _Synchronised1d(_Synchronised, nn.BatchNorm1d):
    pass


class _Synchronised2d(_Synchronised, nn.BatchNorm2d):
    pass


_SYNCHRONISED: dict[type[nn.Module], type[_Synchronised]] = {
    nn.BatchNorm1d: _Synchronised1d,
    nn.BatchNorm2d: _Synchronised2d,
}
