"""`Stack`: several candidates of one module trained at once, with stacked parameters.

A small network leaves a processor idle between its kernels; the same kernels over a stack of
networks take hardly longer. The results are those of training each candidate alone, but for
rounding: sums are taken in another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn import functional

from safecompress.candidate import Candidate
from safecompress.config import TrainConfig
from safecompress.models.adapt import call
from safecompress.protocols import Inputs
from safecompress.train.batches import Step
from safecompress.train.optimizers import STEP, make_optimizer, set_rate_, state_keys
from safecompress.train.own_code import LossFunction

LARGEST_STEP = {True: 2**23, False: 2**30}
"""Largest rows of a batch × weights at which a stack of about four is faster; True is for a CPU.

Measured on one CPU core with five candidates: 2.0 to 2.4 times as fast at 2**18, 1.2 to 1.5 at
2**22.7 with AVX2 and no faster there with AVX-512, no faster at 2**25.5. A single network fills a
GPU only at far larger sizes; the limit of a GPU is an estimate.
"""

_DROPPING = nn.modules.dropout._DropoutNd
_UNSTACKED = (nn.RNNBase, nn.Embedding, nn.EmbeddingBag)

Targets = Callable[[Step, Candidate], Tensor]
"""Returns a batch's class indices (b,) or probabilities (b, classes) for one candidate."""


def obstacle(module: nn.Module, candidates: Sequence[Candidate]) -> str:
    """Return why these candidates cannot be trained as one stack; an empty string where they can.

    Args:
        module: the module that the candidates belong to.
        candidates: at least one.
    """
    counts = {
        tuple(float(state[STEP]) for state in c.optimizer.values() if STEP in state)
        for c in candidates
    }
    dropping = any(isinstance(m, _DROPPING) and m.p for m in module.modules())
    obstacles = {
        "there is one": len(candidates) < 2,
        "they are at different steps": len({c.step for c in candidates}) > 1,
        "their optimizers have counted different steps": len(counts) > 1,
        "one is quantized or lacks channels": any(c.transforms for c in candidates),
        # `vmap` can neither update batch statistics in place nor draw the random numbers that each
        # candidate would draw alone.
        "the module has buffers": next(module.buffers(), None) is not None,
        "the module drops out": dropping,
        "a layer cannot be stacked": any(isinstance(m, _UNSTACKED) for m in module.modules()),
    }
    return next((why for why, holds in obstacles.items() if holds), "")


def _places(module: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[str, str]:
    """Return where each trained parameter is used, once for every layer that holds it.

    Args:
        module: the module.
        parameters: its trained parameters, by their first names.

    Returns:
        The first name of a parameter for each of its places, as `functional_call` names them.
    """
    first = {id(p): name for name, p in parameters.items()}
    return {
        f"{name}.{own}".lstrip("."): first[id(p)]
        for name, part in module.named_modules()
        for own, p in part.named_parameters(recurse=False, remove_duplicate=False)
        if id(p) in first
    }


def _stacked(tensors: Sequence[Tensor], *, like: Tensor) -> Tensor:
    return torch.stack(list(tensors)).to(like.device)


class Stack:
    """k candidates at the same step, whose parameters and optimizer states are stacked.

    Args:
        module: the module that the candidates belong to; its own weights are not used.
        candidates: candidates without an `obstacle`.
        config: the optimizer.
        parameters: the module's trained parameters, by name.
        targets: gives each candidate's training targets.
    """

    def __init__(
        self,
        module: nn.Module,
        candidates: Sequence[Candidate],
        config: TrainConfig,
        parameters: Mapping[str, nn.Parameter],
        targets: Targets,
        loss: LossFunction = functional.cross_entropy,
    ) -> None:
        self._module, self._candidates, self._config = module, tuple(candidates), config
        self._targets, self._loss = targets, loss
        self._places = _places(module, parameters)
        self._values = {
            name: nn.Parameter(_stacked([c.weights[name] for c in candidates], like=p))
            for name, p in parameters.items()
        }
        masks = {}
        for name, value in self._values.items():
            each = [c.topology.masks[name] for c in candidates if name in c.topology.masks]
            if not all(bool(mask.all()) for mask in each):
                masks[name] = _stacked(each, like=value)
                value.data.masked_fill_(~masks[name], 0.0)
        self._masks = {name: mask.to(self._values[name].dtype) for name, mask in masks.items()}
        self._optimizer = make_optimizer(config, self._values)
        for name, value in self._values.items():
            states = [c.optimizer.get(name, {}) for c in candidates]
            stacked = self._optimizer.state[value]
            if config.optimizer == "adamw":
                fused = bool(self._optimizer.defaults.get("fused"))
                stacked[STEP] = (
                    states[0]
                    .get(STEP, torch.zeros(()))
                    .to(device=value.device if fused else "cpu", dtype=torch.float32, copy=True)
                )
            zero = torch.zeros_like(candidates[0].weights[name])
            for key in state_keys(config):
                stacked[key] = _stacked([state.get(key, zero) for state in states], like=value)
                if name in masks:
                    stacked[key].masked_fill_(~masks[name], 0.0)

    def step_(self, batch: Step, *, lr: float) -> Tensor:
        """Take one step with every candidate and return their losses, float32 (k,).

        Args:
            batch: the rows of the step, the same for all candidates.
            lr: the learning rate of the step.
        """
        set_rate_(self._optimizer, lr)
        losses = self._losses(batch)
        losses.sum().backward()  # type: ignore[no-untyped-call]
        if self._masks:
            gradients = [g for n in self._masks if (g := self._values[n].grad) is not None]
            present = [m for n, m in self._masks.items() if self._values[n].grad is not None]
            torch._foreach_mul_(gradients, present)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return losses.detach()

    def _losses(self, batch: Step) -> Tensor:
        def logits_of(values: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
            placed = {place: values[name] for place, name in self._places.items()}
            # torch's own handling of tied weights leaves stacked ones behind in a layer that the
            # module holds under two names.
            return call(
                lambda *a, **k: functional_call(self._module, placed, a, k, tie_weights=False),
                inputs,
            )

        logits = vmap(logits_of, in_dims=(0, None))(self._values, batch.inputs)
        targets = [self._targets(batch, candidate) for candidate in self._candidates]
        return torch.stack([self._loss(z, t) for z, t in zip(logits, targets, strict=True)])

    def collected(self, steps: int) -> list[Candidate]:
        """Return every candidate with all that training has changed, in the order given.

        Args:
            steps: steps that were taken.
        """
        return [self._collect(k, candidate, steps) for k, candidate in enumerate(self._candidates)]

    def _collect(self, k: int, candidate: Candidate, steps: int) -> Candidate:
        def copied(tensor: Tensor) -> Tensor:
            return tensor.detach()[k].to("cpu", copy=True).contiguous()

        trained = {name: copied(value) for name, value in self._values.items()}
        # Held here, because an identity only means something while the tensor is there.
        before = dict(candidate.weights)
        # All names of a tied parameter get the same tensor, as in the candidate before.
        shared = {id(before[name]): value for name, value in trained.items()}
        weights = {name: shared.get(id(t), t) for name, t in before.items()}
        state: dict[str, dict[str, Tensor]] = {}
        for name, value in self._values.items():
            stacked = self._optimizer.state[value]
            state[name] = {key: copied(stacked[key]) for key in state_keys(self._config)}
            if STEP in stacked:
                state[name][STEP] = stacked[STEP].detach().to("cpu", copy=True)
        return candidate.evolve(weights=weights, optimizer=state, step=candidate.step + steps)
