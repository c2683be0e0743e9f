"""`LiveMasks`: keeps the masks of a module that an optimizer of somebody else's trains.

The engine hands its optimizers vectors of the existing weights (`train/active.py`). A loop of a
user's own has an optimizer of its own, over whole parameters, and clips, scales and accumulates
their gradients. So here hooks keep the same law: a missing weight, its gradient and its optimizer
state are zero after every backward pass and every step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from safecompress.candidate import Candidate
from safecompress.errors import ConfigError, ModelError
from safecompress.topology import Topology
from safecompress.train.state import module_tensors, require_finite


class LiveMasks:
    """Keeps masks through hooks on the parameters and on the optimizer, until it is removed.

    Gradients are masked as they are accumulated, so that clipping, scaling and the optimizer see
    existing weights alone. The hooks stay in force for groups of parameters that the optimizer is
    given later.

    Args:
        module: the module that is trained.
        optimizer: moves its parameters; one that takes one step per call.
        topology: which weights exist; the others become zero at once.
        after_step: called after every step of the optimizer, once the masks are kept.

    Raises:
        ConfigError: when the optimizer keeps a history that no mask fits.
        ModelError: when the topology belongs to another model.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        topology: Topology,
        *,
        after_step: Callable[[], None],
    ) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise ConfigError(
                "optimizer: LBFGS keeps a history of all weights as one vector, which no mask "
                "fits; take another, such as SGD or AdamW."
            )
        self._module, self._optimizer, self._after_step = module, optimizer, after_step
        self._copies: list[nn.Module] = []
        self._gathered: dict[str, Tensor] | None = None
        self.topology = topology
        self.set_(topology)
        self._handles: list[Any] = [
            parameter.register_post_accumulate_grad_hook(self._mask_gradient_)  # type: ignore[no-untyped-call]
            for parameter, _, _ in self._bound.values()
        ]
        self._handles.append(optimizer.register_step_post_hook(self._stepped_))

    def set_(self, topology: Topology) -> None:
        """Keep other masks from now on; weights and optimizer state that they lack become zero.

        Args:
            topology: masks of the same parameters.

        Raises:
            ModelError: when the topology belongs to another model.
        """
        pairs = topology.bind(self._module)
        self.topology = topology
        self._bound = {
            id(parameter): (parameter, name, ~mask)
            for name, (parameter, mask) in zip(topology.masks, pairs, strict=True)
        }
        self.apply_()
        for copy in self._copies:
            topology.apply_(copy)

    def remove_(self) -> None:
        """Take the hooks off again; the module stays as it is."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def follow_(self, copy: nn.Module) -> None:
        """Let a copy of the module, such as a moving average, lose the weights that are missing.

        An average of zeros is zero, so the copy needs masking only where masks change.

        Args:
            copy: a module of the same parameters, or torch's `AveragedModel` of one.

        Raises:
            ModelError: when the copy is of another model.
        """
        inner = copy.module if isinstance(copy, AveragedModel) else copy
        self.topology.apply_(inner)
        self._copies.append(inner)

    @torch.no_grad()
    def apply_(self) -> None:
        """Set missing weights and their optimizer state to zero, in place."""
        for parameter, _, missing in self._bound.values():
            parameter.masked_fill_(missing, 0.0)
            for state in self._optimizer.state.get(parameter, {}).values():
                if isinstance(state, Tensor) and state.shape == parameter.shape:
                    state.masked_fill_(missing, 0.0)

    def broken(self) -> str:
        """Return the name of a parameter that has a value where no weight exists, or nothing."""
        for parameter, name, missing in self._bound.values():
            if bool(parameter.detach().masked_select(missing).any()):
                return name
        return ""

    def gather_(self) -> None:
        """From now on add up what backward passes say of missing weights, for `gradient`."""
        self._gathered = {}

    def gradient(self) -> dict[str, Tensor]:
        """Return the dense gradient of the step that was just taken, and gather no more.

        Entries of existing weights may have been clipped or unscaled since, those of missing
        weights have not: compare entries of one kind only, as drop and grow rules do.

        Returns:
            Per masked parameter float32 of its shape, on the CPU.
        """
        gathered, self._gathered = self._gathered or {}, None
        dense = {}
        for parameter, name, _ in self._bound.values():
            total = torch.zeros(parameter.shape)
            if parameter.grad is not None:
                total += parameter.grad.detach().float().cpu()
            if name in gathered:
                total += gathered[name].cpu()
            dense[name] = total
        return dense

    def collected(self, candidate: Candidate) -> Candidate:
        """Return a candidate with the weights and the optimizer state as they are now, on the CPU.

        Args:
            candidate: gives everything else; its masks are those kept here.

        Raises:
            ModelError: when something beside the optimizer gave a value to a missing weight.
            NonFiniteError: when a weight is NaN or infinite.
        """
        require_finite(self._module, where="your loop")
        if name := self.broken():
            raise ModelError(
                f"'{name}' has values where no weight exists: something beside the optimizer wrote "
                "to it, such as loading weights of a time with other masks. Load the masks of the "
                "same time with them (load_state_dict)."
            )
        return candidate.evolve(
            weights=module_tensors(self._module), optimizer=self._optimizer_state()
        )

    def put_(self, candidate: Candidate) -> None:
        """Take over a candidate's masks, and of the masked parameters weights and optimizer state.

        Args:
            candidate: of the module, as a proposal changed it.
        """
        with torch.no_grad():
            for parameter, name, _ in self._bound.values():
                parameter.copy_(candidate.weights[name])
                own = self._optimizer.state.get(parameter, {})
                for key, state in candidate.optimizer.get(name, {}).items():
                    own[key].copy_(state)
        self.set_(candidate.topology)

    def _optimizer_state(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Return copies of the state that has its parameter's shape, per masked parameter."""
        states = {}
        for parameter, name, _ in self._bound.values():
            own = {
                key: value.detach().to("cpu", copy=True)
                for key, value in self._optimizer.state.get(parameter, {}).items()
                if isinstance(value, Tensor) and value.shape == parameter.shape
            }
            if own:
                states[name] = own
        return states

    @torch.no_grad()
    def _mask_gradient_(self, parameter: Tensor) -> None:
        _, name, missing = self._bound[id(parameter)]
        gradient = parameter.grad
        if gradient is None:
            return
        if gradient.layout != torch.strided:
            raise ModelError(
                f"'{name}' has gradients in the layout {gradient.layout}, which no mask fits; "
                "make the embedding with sparse=False, or leave it out with sparse.exclude."
            )
        if self._gathered is not None:
            # A step that fp16 skips may leave infinities here, and a gradient that the loop
            # threw away finite numbers: those count as one more batch in a score that compares.
            new = torch.nan_to_num(gradient.float(), nan=0.0, posinf=0.0, neginf=0.0)
            new.masked_fill_(~missing, 0.0)
            old = self._gathered.get(name)
            self._gathered[name] = new if old is None else old.add_(new)
        gradient.masked_fill_(missing, 0.0)

    def _stepped_(self, *_: Any) -> None:
        self.apply_()
        self._after_step()
