"""`loss_function`, `input_change`: the loss and the augmentation of a user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from safecompress.errors import FOREIGN, ConfigError, SafeCompressError, telling_memory_shortage
from safecompress.imports import current_folder_importable, import_callable
from safecompress.protocols import Inputs, tensors_of

LossFunction: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Takes logits (n, classes) and targets, int64 (n,) or probabilities (n, classes); a scalar."""


@dataclass(frozen=True)
class OwnCode:
    """A function that a configuration names, whose failures are told once and by its name.

    Args:
        path: `package.module:function`.
        where: the key that names it.
    """

    path: str
    where: str

    def function(self) -> Callable[..., Any]:
        """Import and return the function.

        Raises:
            ConfigError: when there is none.
        """
        with current_folder_importable():
            return import_callable(self.path, where=self.where, error=ConfigError)

    def called(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what the function returns.

        Args:
            function: the function.
            args: its arguments.

        Raises:
            ConfigError: when it raises anything.
        """
        try:
            with telling_memory_shortage():
                return function(*args)
        except SafeCompressError:
            raise
        except FOREIGN as error:
            text = " ".join(str(error).split())[:200]
            raise self.fault(f"raised {type(error).__name__}: {text}") from error

    def fault(self, what: str) -> ConfigError:
        """Return the error about what the function did.

        Args:
            what: the end of a sentence whose subject is the function.
        """
        return ConfigError(f"{self.where}: '{self.path}' {what}.")


def loss_function(path: str) -> LossFunction:
    """Return the loss that a configuration names.

    Args:
        path: `package.module:function`.

    Raises:
        ConfigError: when there is no such function.
    """
    code = OwnCode(path, "train.loss")
    function = code.function()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        returned = code.called(function, logits, targets)
        if not isinstance(returned, Tensor) or returned.ndim:
            what = (
                tuple(returned.shape) if isinstance(returned, Tensor) else type(returned).__name__
            )
            raise code.fault(f"returned {what}; expected a scalar tensor, the mean over the rows")
        if logits.requires_grad and not returned.requires_grad:
            raise code.fault("returned a loss without a gradient; compute it from the logits")
        return returned

    return loss


def require_soft_targets(path: str, classes: int) -> None:
    """Raise ConfigError when a loss does not take the class probabilities of teachers.

    Args:
        path: `package.module:function`.
        classes: number of classes.

    Raises:
        ConfigError: saying what the function did.
    """
    logits = torch.zeros(2, classes, requires_grad=True)
    targets = torch.full((2, classes), 1 / classes)
    try:
        value = loss_function(path)(logits, targets)
    except ConfigError as error:
        raise ConfigError(
            f"{error} It was given class probabilities, float32 (n, classes), which teachers' "
            "labels are; do without teachers, or let it take both."
        ) from error
    if not bool(torch.isfinite(value)):
        raise OwnCode(path, "train.loss").fault("is not finite for even class probabilities")


def input_change(path: str) -> Callable[[Inputs, torch.Generator], Inputs]:
    """Return the augmentation that a configuration names.

    Args:
        path: `package.module:function`; it takes the inputs of a batch and a CPU generator for its
            random numbers, and returns inputs of the same shapes and types.

    Raises:
        ConfigError: when there is no such function.
    """
    code = OwnCode(path, "train.augment")
    function = code.function()

    def change(inputs: Inputs, generator: torch.Generator) -> Inputs:
        before = _forms(inputs)
        returned = code.called(function, inputs, generator)
        if type(returned) is not type(inputs) or _forms(returned) != before:
            raise code.fault(
                f"returned {_forms(returned) or type(returned).__name__}; expected inputs like "
                f"those it was given, {before}"
            )
        return returned

    return change


def _forms(inputs: Any) -> list[tuple[tuple[int, ...], str]]:
    """Return shape and type of each tensor; nothing where there are none."""
    if not isinstance(inputs, Tensor | tuple | dict):
        return []
    tensors = tensors_of(inputs)
    return [(tuple(t.shape), str(t.dtype)) for t in tensors if isinstance(t, Tensor)]
