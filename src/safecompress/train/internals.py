"""`internals`: a model's last features, and the norms of every row's gradients.

The gradient of one row's loss with respect to a layer's weights is the product of the layer's input
a and of δ, the gradient with respect to the layer's output. One forward and one backward pass
through a whole batch give both for every row. So no row needs a pass of its own, and the norm is
computed without building the gradient:

- one position: ‖δ aᵀ‖ = ‖δ‖ ‖a‖;
- many positions t (words, pixels of a convolution, calls of a shared layer): ‖Σ_t δ_t a_tᵀ‖, whose
  square is Σ_{t,s} (a_t·a_s)(δ_t·δ_s), or the summed squares of the product itself, whichever takes
  fewer operations.

The backward pass is linear in the loss's gradient with respect to the logits, p − y. It starts from
that gradient at unit length, and its true length is multiplied on afterwards in float64. So rows
that the model has memorized, whose p − y is 1e-20 or less, do not underflow.

Reference: Goodfellow, Efficient Per-Example Gradient Computations, 2015 (arXiv 1510.01799); for
convolutions Rochette et al., 2019 (arXiv 1912.06015).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, unfold

from safecompress.errors import ModelError, NonFiniteError
from safecompress.models.adapt import call
from safecompress.protocols import Internals, Rows, map_inputs, residuals
from safecompress.train.features import WEIGHT_LAYERS, WeightLayer, without_positions
from safecompress.train.predict import full_precision, mode

_BATCH = 512
_BATCH_FLOATS = 1 << 24
"""Inputs and outputs of layers kept at once: 64 MB, and about three times that in the graph."""
_BLOCK_FLOATS = 1 << 22
"""Numbers that the norms of one layer are computed from at once: 16 MB."""


@dataclass(eq=False)
class _Call:
    """One call of a weight layer.

    Args:
        layer: a `Linear` or `Conv2d`.
        inputs: its inputs, (n, …).
        outputs: number of values in its output.
        delta: the loss's gradient with respect to its output; None where no loss depends on it.
    """

    layer: WeightLayer
    inputs: Tensor
    outputs: int
    delta: Tensor | None = None

    def take_(self, gradient: Tensor) -> None:
        self.delta = gradient.detach()


class _Watch:
    """Records every call of a weight layer.

    Args:
        module: the model, with frozen parameters.
    """

    def __init__(self, module: nn.Module) -> None:
        self._names: dict[nn.Module, str] = {
            layer: name
            for name, layer in module.named_modules()
            if isinstance(layer, WEIGHT_LAYERS)
        }
        self.calls: list[_Call] = []

    @contextmanager
    def recording(self, device: torch.device) -> Iterator[Tensor]:
        """Record the calls of a block in `calls`.

        Yields:
            A zero that is added to the outputs of layers, so that a backward pass reaches them
            although all parameters are frozen.
        """
        anchor = torch.zeros((), device=device, requires_grad=True)

        def record(layer: Any, args: Any, named: Any, output: Tensor) -> Tensor:
            inputs = args[0] if args else named["input"]
            # The sum is a new tensor, so a later in-place change does not alter the layer's output.
            output = output if output.requires_grad else output + anchor.to(output.dtype)
            layer_call = _Call(layer, inputs.detach(), output.numel())
            output.register_hook(layer_call.take_)  # type: ignore[no-untyped-call]
            self.calls.append(layer_call)
            return output

        self.calls = []
        hooks = [layer.register_forward_hook(record, with_kwargs=True) for layer in self._names]
        try:
            yield anchor
        finally:
            for hook in hooks:
                hook.remove()

    def name(self, layer: nn.Module) -> str:
        """Return the layer's name in the model."""
        return self._names[layer]


def internals(module: nn.Module, rows: Rows) -> Internals:
    """Return the last features and gradient norms of `rows`, in evaluation mode and fp32.

    Layers are `Linear` and `Conv2d` modules that the model calls with one leading index per row.
    Modules that share one weight count as one layer. Left out are biases, normalization,
    embeddings, weights used without calling their layer, and layers whose inputs do not have one
    leading index per row.

    A gradient is that of the dense weight, also where a mask says that a weight does not exist,
    because an attacker with the model can compute it there, too.

    Args:
        module: any model; its training flags, weights, buffers and gradients are as before
            afterwards.
        rows: n rows, on any device.

    Returns:
        Internals on the CPU.

    Raises:
        NonFiniteError: when a logit or a gradient is NaN or infinite.
        ModelError: when there is no such layer, or the model's output has no logits.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    watch = _Watch(module)
    with (
        torch.enable_grad(),
        mode(module, training=False),
        full_precision(device),
        _frozen(module),
    ):
        layers, size = _surveyed(module, watch, rows, device)
        index = torch.arange(len(rows))
        parts = [
            _batch(module, watch, layers, rows.take(i), device) for i in torch.split(index, size)
        ]
    features, norms = (torch.cat(part) for part in zip(*parts, strict=True))
    try:
        return Internals(features, norms, tuple(watch.name(group[0]) for group in layers))
    except NonFiniteError as error:
        raise NonFiniteError(f"{error} The model's weights or its inputs are broken.") from error


Group: TypeAlias = list[WeightLayer]
"""Modules that share one weight."""


def _surveyed(
    module: nn.Module, watch: _Watch, rows: Rows, device: torch.device
) -> tuple[list[Group], int]:
    """Return the layers in the order of their first calls, and how many rows fit into a batch."""
    few = rows.take(torch.arange(min(2, len(rows))))
    with watch.recording(device):
        call(module, map_inputs(lambda t: t.to(device), few.inputs))
    groups: dict[int, Group] = {}
    refused = set()
    for layer_call in watch.calls:
        group = groups.setdefault(id(layer_call.layer.weight), [])
        if layer_call.layer not in group:
            group.append(layer_call.layer)
        if layer_call.inputs.ndim < 2 or len(layer_call.inputs) != len(few):
            refused.add(id(layer_call.layer.weight))
    layers = [group for key, group in groups.items() if key not in refused]
    if not layers:
        raise ModelError(
            f"{type(module).__name__}: it calls no Linear or Conv2d layer with one leading index "
            "per row; there is nothing for a white-box attack to look at."
        )
    floats = sum(c.inputs.numel() + c.outputs for c in watch.calls) // max(1, len(few))
    return layers, max(1, min(_BATCH, _BATCH_FLOATS // max(1, floats)))


def _batch(
    module: nn.Module, watch: _Watch, layers: Sequence[Group], rows: Rows, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the features and gradient norms of a batch of rows, on the CPU."""
    with watch.recording(device) as anchor:
        logits = call(module, map_inputs(lambda t: t.to(device), rows.inputs))
    # The CPU computes in float64, which not every accelerator can.
    direction, length = residuals(logits.detach().cpu(), rows.labels.cpu())
    torch.autograd.grad(logits, anchor, direction.to(logits))
    reached = [c for c in watch.calls if c.delta is not None]
    columns = []
    for group in layers:
        calls = [c for c in reached if c.layer in group]
        columns.append(_norms(calls).cpu() * length if calls else torch.zeros_like(length))
    used = [c for c in reached if any(c.layer in group for group in layers)]
    features = without_positions(used[-1].layer, used[-1].inputs)
    watch.calls = []
    return features.float().cpu(), torch.stack(columns, dim=1)


def _norms(calls: Sequence[_Call]) -> Tensor:
    """Return the L2 norm of each row's gradient with respect to the weight of `calls`, (n,)."""
    if len(calls) == 1 and calls[0].inputs.ndim == 2:
        # A single call with one position is the commonest case, and needs no copy.
        (only,) = calls
        return _lengths(only.inputs) * _lengths(_delta(only))
    rows = max(1, _BLOCK_FLOATS // sum(map(_floats, calls)))
    size = len(calls[0].inputs)
    blocks = [slice(start, start + rows) for start in range(0, size, rows)]
    return torch.cat([_squares(calls, block) for block in blocks]).sqrt()


def _lengths(t: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(t.float(), dim=1)
    return lengths


def _delta(layer_call: _Call) -> Tensor:
    if layer_call.delta is None:
        raise RuntimeError("a call that no loss reaches has no gradient")
    return layer_call.delta


def _floats(layer_call: _Call) -> int:
    """Return how many numbers `_squares` computes with for one row of a call."""
    layer, delta = layer_call.layer, _delta(layer_call)
    if isinstance(layer, nn.Linear):
        return layer_call.inputs[0].numel() + delta[0].numel() + layer.weight.numel()
    positions = delta[0, 0].numel()
    patch = layer.weight[0].numel() * layer.groups
    return positions * (patch + delta.shape[1]) + layer.weight.numel()


def _squares(calls: Sequence[_Call], block: slice) -> Tensor:
    """Return the squared norms of a block of rows."""
    pairs = [_by_position(c, block) for c in calls]
    a, delta = (torch.cat(part, dim=-1) for part in zip(*pairs, strict=True))
    positions, fan_in, fan_out = a.shape[-1], a.shape[2], delta.shape[2]
    if positions * (fan_in + fan_out) < fan_in * fan_out:
        products = (a.mT @ a) * (delta.mT @ delta)
    else:
        products = (delta @ a.mT).square()
    # Rounding may leave a sum of squares slightly below 0.
    return products.sum(dim=(1, 2, 3)).clamp_(min=0.0)


def _by_position(layer_call: _Call, block: slice) -> tuple[Tensor, Tensor]:
    """Return a call's inputs and gradients as (rows, groups, features, positions)."""
    layer, inputs = layer_call.layer, layer_call.inputs[block].float()
    delta = _delta(layer_call)[block].float()
    rows = len(inputs)
    if isinstance(layer, nn.Linear):
        return (
            inputs.reshape(rows, 1, -1, layer.in_features).mT,
            delta.reshape(rows, 1, -1, layer.out_features).mT,
        )
    # The layer's own amounts serve every kind of padding ("same", too), in the order of `pad`.
    how = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padded = pad(inputs, layer._reversed_padding_repeated_twice, mode=how)
    patches = unfold(
        padded,
        kernel_size=tuple(layer.kernel_size),
        dilation=tuple(layer.dilation),
        stride=tuple(layer.stride),
    )
    positions = patches.shape[-1]
    return (
        patches.reshape(rows, layer.groups, -1, positions),
        delta.reshape(rows, layer.groups, -1, positions),
    )


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Run a block in which no parameter requires a gradient."""
    trained = [p for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_()
