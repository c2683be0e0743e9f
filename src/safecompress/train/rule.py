"""`by_rule`: the precision and memory format of a stage, from the hardware and the shapes alone.

Nothing is timed, so a run that is repeated on the same machine computes the same bits, however busy
the machine is. `benchmarks/arithmetic.py` measures what the rule costs against the fastest choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from safecompress import randomness
from safecompress.models.adapt import call
from safecompress.topology import Topology
from safecompress.train.active import active_weights
from safecompress.train.arithmetic import Arithmetic
from safecompress.train.batches import Batches
from safecompress.train.predict import mode
from safecompress.train.sparse_layers import SparseLayers, sparse_layers

LEAST_WORK = {"cpu": 24e6, "cuda": 2.0**32}
"""Fewest multiplications of a step's forward pass at which bf16 is faster, by type of device.

Below, converting numbers takes longer than multiplying them. The limit of a CPU is measured; that
of a GPU, which waits for small kernels rather than for products, is an estimate.
"""
MOST_SPARSE = 0.8
"""Largest share of these multiplications in layers that fp32 computes with their existing weights
alone. Above, fp32 is faster than bf16, which computes with all of them."""
LEAST_ACTIVATIONS = 3.0
"""Fewest numbers that convolutions read and write in a step, per weight of theirs, at which
channels_last is faster. Below, laying out the weights anew takes longer."""


@dataclass(frozen=True)
class Work:
    """What the forward pass of a training step computes.

    Args:
        products: multiplications of linear layers and convolutions, with all weights.
        sparse: those of them in layers that fp32 computes with their existing weights alone.
        activations: numbers that convolutions read and write.
        kernels: weights of the convolutions.
    """

    products: float = 0.0
    sparse: float = 0.0
    activations: float = 0.0
    kernels: float = 0.0


def by_rule(
    module: nn.Module,
    batches: Batches,
    *,
    device: torch.device,
    topology: Topology | None,
    channels_last: bool,
) -> Arithmetic:
    """Return the settings of a stage that the user left to the rule.

    bf16 is taken where the device multiplies it and a step is large enough, unless most of the step
    is computed sparsely in fp32; channels_last where convolutions have more activations than
    weights.

    Args:
        module: the model, on `device`; afterwards it is as before.
        batches: batches of the stage; the first gives the shapes.
        device: device of the model.
        topology: a mask like those that will be trained; None where all weights are computed with.
        channels_last: whether channels_last can be used.
    """
    if device.type not in LEAST_WORK:
        return Arithmetic()
    work = measured(module, batches, topology)
    bf16 = (
        work.products >= LEAST_WORK[device.type]
        and work.sparse <= MOST_SPARSE * work.products
        and multiplies_bf16(device)
    )
    last = channels_last and work.activations >= LEAST_ACTIVATIONS * max(work.kernels, 1.0)
    return Arithmetic(
        "bf16-mixed" if bf16 else "32-true", "channels_last" if last else "contiguous"
    )


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether the hardware has instructions that multiply bf16, and torch uses them.

    Args:
        device: a CPU or a CUDA GPU; any other has none that the rule knows of.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu" or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    # Not every version of torch that is supported can tell; without an answer it is fp32.
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def measured(module: nn.Module, batches: Batches, topology: Topology | None) -> Work:
    """Return what a step computes, from the shapes that its layers meet.

    Layers that are called without their module, as by attention, are not counted.

    Args:
        module: the model; afterwards it is as before.
        batches: batches of the stage.
        topology: a mask like those that will be trained; None where all weights are computed with.
    """
    parameters = {n: p for n, p in module.named_parameters() if p.requires_grad}
    layers: SparseLayers = {}
    if topology is not None:
        # The vectors of existing weights are copies, so the module's own weights stay.
        layers = sparse_layers(active_weights(parameters, topology, module), module)
    found: list[Work] = []

    def counting(layer: nn.Module) -> Callable[..., None]:
        def count(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                found.append(_work(layer, inputs[0], output, layers))

        return count

    counted = [m for m in module.modules() if isinstance(m, nn.Linear | _ConvNd)]
    hooks = [layer.register_forward_hook(counting(layer)) for layer in counted]
    try:
        with torch.no_grad(), mode(module, training=False), randomness.seeded(0, "rule"):
            call(module, batches.at(0, memory_format=torch.contiguous_format).inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return Work(
        products=sum(w.products for w in found),
        sparse=sum(w.sparse for w in found),
        activations=sum(w.activations for w in found),
        kernels=sum(w.kernels for w in found),
    )


def _work(layer: nn.Module, x: Tensor, output: Tensor, layers: SparseLayers) -> Work:
    weight = layer.weight
    if not isinstance(weight, Tensor) or not len(weight):
        return Work()
    # Of a transposed convolution every input number, not every output number, meets all of them.
    numbers = x.numel() if getattr(layer, "transposed", False) else output.numel()
    products = float(numbers * (weight.numel() // len(weight)))
    how = layers.get(layer) if isinstance(layer, nn.Linear | nn.Conv2d) else None
    sparse = products if how is not None and how.worth(x) else 0.0
    if isinstance(layer, nn.Linear):
        return Work(products, sparse)
    return Work(products, sparse, float(x.numel() + output.numel()), float(weight.numel()))
