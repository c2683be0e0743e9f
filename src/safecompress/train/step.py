"""The parts of one training step that know about masks; everything else is PyTorch's.

Multiplying the gradient is all that masking costs. A weight that does not exist starts at zero
with zero optimiser state, and with a zero gradient neither momentum nor weight decay nor AdamW
can move it, so nothing has to be masked after the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from safecompress import randomness
from safecompress.topology import Topology

AVERAGE_DECAY = 0.9
"""Decay of the moving average of gradients, per step."""

Pairs = Sequence[tuple[nn.Parameter, Tensor]]
"""Parameters, each with a tensor of its shape, type and memory layout."""


def mask_pairs(topology: Topology, module: nn.Module) -> Pairs:
    """Return each parameter that is not dense with its mask as numbers, 0 or 1."""
    pairs = []
    for parameter, mask in topology.bind(module):
        if not bool(mask.all()):
            pairs.append((parameter, torch.empty_like(parameter).copy_(mask).detach()))
    return pairs


def zero_missing_(tensors: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """Zero the entries of tensors that do not exist; one pass over all of them."""
    if tensors:
        torch._foreach_mul_(list(tensors), list(masks))
        # A negative number times zero is -0; adding zero makes it +0, the same bytes everywhere.
        torch._foreach_add_(list(tensors), 0.0)


def average_pairs(parameters: Mapping[str, nn.Parameter], averages: Mapping[str, Tensor]) -> Pairs:
    """Return each parameter with a copy of its moving average, zero where there is none yet."""
    pairs = []
    for name, parameter in parameters.items():
        average = torch.zeros_like(parameter)
        if name in averages:
            average.copy_(averages[name])
        pairs.append((parameter, average))
    return pairs


def mask_gradients_(pairs: Pairs) -> None:
    """Zero the gradients of weights that do not exist."""
    gradients, masks = _with_gradients(pairs)
    if gradients:
        torch._foreach_mul_(gradients, masks)


def update_averages_(pairs: Pairs, *, finite: bool) -> None:
    """Move each average by 1 - AVERAGE_DECAY towards the present, dense gradient.

    Args:
        pairs: parameters and their averages.
        finite: False where fp16 gradients may have overflowed; such entries count as zero.
    """
    gradients, averages = _with_gradients(pairs)
    if not finite:
        gradients = [torch.nan_to_num(g, nan=0.0, posinf=0.0, neginf=0.0) for g in gradients]
    if gradients:
        torch._foreach_lerp_(averages, gradients, 1.0 - AVERAGE_DECAY)


def _with_gradients(pairs: Pairs) -> tuple[list[Tensor], list[Tensor]]:
    present = [(p.grad, other) for p, other in pairs if p.grad is not None]
    return [g for g, _ in present], [other for _, other in present]


def reseed_(device: torch.device, seed: int, *names: str | int) -> None:
    """Seed torch's global generators for one step; call it inside `randomness.seeded`.

    `torch.manual_seed` looks through every kind of device and takes a hundred times as long.
    """
    derived = randomness.derive(seed, *names)
    torch.default_generator.manual_seed(derived)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(derived)
