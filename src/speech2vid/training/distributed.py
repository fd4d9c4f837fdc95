"""One process or many, CPU or CUDA: what torchrun started, if it did.

Every process draws its share of the same global batch, and gradients and batch-norm statistics are averaged over all of
them: N processes give the losses of one, up to the order in which floats are added.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from speech2vid.errors import ConfigError
from speech2vid.runtime.devices import choose_device


@dataclass(frozen=True)
class Distributed:
    """This process among its peers.

    Attributes:
        rank: its number; 0 writes what is written.
        count: how many there are.
        device: what it computes on.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """The items of a batch that are this process's. ConfigError if the batch cannot be shared evenly."""
        if batch % self.count:
            raise ConfigError(
                f"a batch of {batch} cannot be shared among {self.count} processes",
                "make it a multiple of their number",
            )
        each = batch // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes."""
        if self.count == 1:
            return
        tensors = list(tensors)
        flat = torch.cat([each.reshape(-1) for each in tensors])
        dist.all_reduce(flat)
        means = torch.split(flat / self.count, [each.numel() for each in tensors])
        for each, mean in zip(tensors, means, strict=True):
            each.copy_(mean.view_as(each))

    def same(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def joined(self, network: nn.Module) -> None:
        """Let batch norm take its statistics over all processes, and start all of them from the first one's weights."""
        if self.count == 1:
            return
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = _SHARED[type(module)]
        for tensor in (*network.parameters(), *network.buffers()):
            dist.broadcast(tensor.detach(), 0)


@contextlib.contextmanager
def start_distributed(device: str = "auto") -> Iterator[Distributed]:
    """Join the processes that torchrun started, or be alone.

    Args:
        device: ``auto`` (CUDA where there is one), ``cpu`` or ``cuda``.
    """
    there = {"cuda": torch.cuda.is_available(), "cpu": True}
    on_cuda = choose_device(device, there, instead="install a torch with CUDA") != "cpu"
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_cuda else torch.device("cpu")
    if on_cuda:
        torch.cuda.set_device(local)
    else:
        torch.set_flush_denormal(True)  # running means decay into denormals, which cost a factor of two
    if count > 1:
        dist.init_process_group("nccl" if on_cuda else "gloo")
    try:
        yield Distributed(rank, count, local)
    finally:
        if count > 1:
            dist.destroy_process_group()


class _Shared(_BatchNorm):
    """Batch norm over the batches of all processes, which are of equal size."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        axes = [axis for axis in range(maps.dim()) if axis != 1]
        sums = torch.stack([maps.float().sum(axes), maps.float().square().sum(axes)])
        count = maps.numel() // maps.shape[1] * dist.get_world_size()
        mean, square = (all_reduce(sums) / count).unbind()  # type: ignore[no-untyped-call]
        variance = square - mean.square()
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


class _Shared1d(_Shared, nn.BatchNorm1d):
    pass


class _Shared2d(_Shared, nn.BatchNorm2d):
    pass


_SHARED: dict[type[nn.Module], type[_Shared]] = {nn.BatchNorm1d: _Shared1d, nn.BatchNorm2d: _Shared2d}
