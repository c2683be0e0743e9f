"""`Perceptrons`: the losses of several networks of linear layers and ReLUs, computed as one.

Between its products a small network spends its time on calls: of layers, of activations, of their
gradients. Here one call serves all networks, except for the products: each of them is made as it
is made alone, so it has the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from safecompress.models.mlp import MLP
from safecompress.train.batches import Step
from safecompress.train.underway import Underway

ALIGNMENT = 64
"""Bytes of which the addresses of torch's tensors are multiples on a CPU."""


class _Linears(torch.autograd.Function):
    """k linear layers of the same shape on k batches."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parameters: Tensor) -> Tensor:
        """Return outputs (k, n, outputs).

        Args:
            ctx: keeps what `backward` needs.
            x: (k, n, inputs).
            parameters: k weights (outputs, inputs), then k biases (outputs,).
        """
        weights, biases = parameters[: len(x)], parameters[len(x) :]
        ctx.save_for_backward(x, *weights)
        each = zip(x, weights, biases, strict=True)
        return torch.stack([torch.addmm(bias, _aligned(one), w.t()) for one, w, bias in each])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, the weights and the biases; None for x where not needed.

        Args:
            ctx: as `forward` left it.
            gradients: of the outputs, (k, n, outputs).
        """
        x, *weights = ctx.saved_tensors
        of_outputs = [_aligned(gradient) for gradient in gradients[0]]
        of_inputs = None
        if ctx.needs_input_grad[0]:
            pairs = zip(of_outputs, weights, strict=True)
            of_inputs = torch.stack([gradient.mm(weight) for gradient, weight in pairs])
        of_weights = [g.t().mm(_aligned(one)) for g, one in zip(of_outputs, x, strict=True)]
        return of_inputs, *of_weights, *(gradient.sum(0) for gradient in of_outputs)


def _aligned(tensor: Tensor) -> Tensor:
    """Return a tensor whose numbers begin at an address where torch's own tensors begin.

    Where they begin elsewhere, a matrix product may add them up in another order.
    """
    return tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()


@dataclass(frozen=True)
class Perceptrons:
    """Networks that are alike and under way, made of nothing but linear layers and ReLUs.

    Args:
        begun: the candidates under way.
        layers: per network its layers, in the order in which they compute.
    """

    begun: Sequence[Underway]
    layers: Sequence[Sequence[nn.Module]]

    @classmethod
    def of(cls, begun: Sequence[Underway]) -> Perceptrons | None:
        """Return the networks, or None where one of them computes anything else.

        Args:
            begun: candidates under way whose modules have the same structure.
        """
        layers = [_layers(one) for one in begun]
        alike = {tuple(map(repr, each)) for each in layers}
        return cls(begun, layers) if all(layers) and len(alike) == 1 else None

    def loss_(self, index: int) -> Tensor:
        """Return the sum of the losses of one step, a scalar attached to the graph, and note each.

        Args:
            index: steps taken before this one since the training began.
        """
        batches = [one.stage.batch(one.candidate.step + index) for one in self.begun]
        x = torch.stack([_tensor(batch) for batch in batches])
        for column in zip(*self.layers, strict=True):
            first = column[0]
            if isinstance(first, nn.Flatten):
                x = x.flatten(2)
            elif isinstance(first, nn.ReLU):
                x = torch.relu(x)
            else:
                of_layers: list[Any] = [layer.weight for layer in column]
                of_layers += [layer.bias for layer in column]
                x = _Linears.apply(x, *of_layers)  # type: ignore[no-untyped-call]
        targets = [
            one.stage.objective.targets(batch, one.candidate.soft_target)
            for one, batch in zip(self.begun, batches, strict=True)
        ]
        losses = _cross_entropies(x, targets)
        for one, loss in zip(self.begun, losses.detach(), strict=True):
            one.losses[index] = loss
        return losses.sum()


def _cross_entropies(logits: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """Return each network's mean cross-entropy, (k,), whose gradients are those of one alone.

    Args:
        logits: (k, n, classes).
        targets: of each network class indices (n,) or probabilities (n, classes).
    """
    if len({target.is_floating_point() for target in targets}) > 1:
        pairs = zip(logits, targets, strict=True)
        return torch.stack([functional.cross_entropy(z, target) for z, target in pairs])
    log_likelihood, wanted = logits.log_softmax(2), torch.stack(list(targets))
    if wanted.is_floating_point():
        return -(log_likelihood * wanted).sum((1, 2)) / logits.shape[1]
    chosen = log_likelihood.gather(2, wanted.unsqueeze(2)).squeeze(2)
    return -chosen.sum(1) / logits.shape[1]


def _tensor(batch: Step) -> Tensor:
    if not isinstance(batch.inputs, Tensor):
        raise TypeError("a linear layer takes a tensor")
    return batch.inputs


def _has_own(one: Underway) -> bool:
    """Return whether a network's loss is more than cross-entropy."""
    return one.stage.objective.defended or one.stage.objective.own


def _layers(one: Underway) -> list[nn.Module]:
    """Return a network's layers in order; none where it may compute anything else."""
    module: Any = one.stage.module
    if type(module) is MLP:
        module = module.layers
    if type(module) is not nn.Sequential or one.sparsely or _has_own(one):
        return []
    if one.stage.device.type != "cpu":
        # A GPU's library takes other kernels for batches that do not begin at round addresses.
        return []
    modules = list(module)
    if any(m._forward_hooks or m._forward_pre_hooks for m in one.stage.module.modules()):
        return []
    known = (nn.Flatten, nn.ReLU, nn.Linear)
    plain = all(
        type(m) in known and (not isinstance(m, nn.Linear) or m.bias is not None) for m in modules
    )
    flat = bool(modules) and (isinstance(modules[0], nn.Flatten) or one.stage.batches.vectors)
    shared = len({id(m) for m in modules}) < len(modules)
    return modules if plain and flat and not shared else []
