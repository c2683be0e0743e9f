"""Moving averages of gradients, and fast seeding, for one training step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from safecompress import randomness

AVERAGE_DECAY = 0.9
"""Share of the old moving average of gradients that stays, per step."""

Pairs = Sequence[tuple[nn.Parameter, Tensor]]
"""Parameters, each with a tensor of its shape, type and memory layout."""


def average_pairs(parameters: Mapping[str, nn.Parameter], averages: Mapping[str, Tensor]) -> Pairs:
    """Return each parameter with a copy of its moving average.

    Args:
        parameters: parameters by name.
        averages: averages by the same names, of the parameters' shapes; a missing one starts at
            zero.
    """
    pairs = []
    for name, parameter in parameters.items():
        average = torch.zeros_like(parameter)
        if name in averages:
            average.copy_(averages[name])
        pairs.append((parameter, average))
    return pairs


def averages_by_name(names: Iterable[str], pairs: Pairs) -> dict[str, Tensor]:
    """Return copies of the averages by name, on the CPU.

    Args:
        names: the parameters' names, in the order of `pairs`.
        pairs: parameters and their averages.
    """
    return {
        name: average.to("cpu", copy=True).contiguous()
        for name, (_, average) in zip(names, pairs, strict=True)
    }


def update_averages_(pairs: Pairs, *, scale: float | None) -> None:
    """Move each average by 1 - AVERAGE_DECAY towards the parameter's dense gradient.

    Args:
        pairs: parameters and their averages.
        scale: factor of the loss in fp16, None in another precision; gradients are divided by it,
            and entries that overflowed count as zero.
    """
    present = [(p.grad, average) for p, average in pairs if p.grad is not None]
    gradients, averages = [g for g, _ in present], [average for _, average in present]
    if scale is not None:
        gradients = [
            torch.nan_to_num(g / scale, nan=0.0, posinf=0.0, neginf=0.0) for g in gradients
        ]
    if gradients:
        torch._foreach_lerp_(averages, gradients, 1.0 - AVERAGE_DECAY)


def reseed_(device: torch.device, seed: int, *names: str | int) -> None:
    """Seed torch's global generators for one step; call it inside `randomness.seeded`.

    `torch.manual_seed` goes through every kind of device and takes a hundred times as long.

    Args:
        device: the device that trains; its generator is seeded, and the CPU's.
        seed: the run's seed.
        names: name of the random decision, as `randomness.derive` takes it.
    """
    derived = randomness.derive(seed, *names)
    torch.default_generator.manual_seed(derived)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(derived)
