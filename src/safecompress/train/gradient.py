"""`mean_gradient` and `backward_once_`: gradients of a stage's loss that move no weight."""

from __future__ import annotations

import torch
from torch import Tensor

from safecompress.topology import maskable_parameters
from safecompress.train.engine import Processes
from safecompress.train.memory import kept_memory
from safecompress.train.stage import Stage


def mean_gradient(
    stage: Stage, first: int, *, batches: int, processes: Processes
) -> dict[str, Tensor]:
    """Return the mean gradient of the training loss at the weights in the stage's module.

    Args:
        stage: the stage, whose module holds a candidate.
        first: step of the first batch.
        batches: number of batches averaged, at least 1.
        processes: those over which the gradient is averaged, too.

    Returns:
        Per maskable parameter a dense fp32 tensor of its shape, on the CPU.
    """
    parameters = maskable_parameters(stage.module)
    sums = [torch.zeros_like(p) for p in parameters.values()]
    with kept_memory(), stage.training():
        for step in range(first, first + batches):
            loss, _ = stage.loss(step, stage.module)
            gradients = torch.autograd.grad(
                loss, list(parameters.values()), allow_unused=True, materialize_grads=True
            )
            torch._foreach_add_(sums, list(gradients))
    if processes.world_size > 1:
        for total in sums:
            total.copy_(processes.all_reduce(total, reduce_op="mean"))  # type: ignore[arg-type]
    return {
        name: (total / batches).detach().to("cpu", copy=True).contiguous()
        for name, total in zip(parameters, sums, strict=True)
    }


def backward_once_(stage: Stage, step: int) -> None:
    """Add one step's gradients to the `grad` of the module's parameters; buffers are put back.

    Args:
        stage: the stage, whose module holds a candidate.
        step: steps of the stage before this one, from 0.
    """
    buffers = [(buffer, buffer.clone()) for buffer in stage.module.buffers()]
    with stage.training():
        loss, _ = stage.loss(step, stage.module)
        loss.backward()  # type: ignore[no-untyped-call]
    for buffer, before in buffers:
        buffer.copy_(before)
