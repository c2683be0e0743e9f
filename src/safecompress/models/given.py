"""`ModelSource` and `module_of`: a module that a user gives as an object."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias

from torch import nn

from safecompress.errors import ModelError

ModelSource: TypeAlias = nn.Module | Callable[[], nn.Module]
"""A module, or a callable that makes one."""


def module_of(given: ModelSource) -> nn.Module:
    """Return a module that may be changed: a copy of a given one, or what a callable makes.

    Args:
        given: a module, which stays as it is, or a callable without arguments.

    Raises:
        ModelError: when the callable takes arguments, or returns something else than a module.
    """
    if isinstance(given, nn.Module):
        return copy.deepcopy(given)
    if not callable(given):
        raise ModelError(
            f"model: got {type(given).__name__}; expected a torch.nn.Module or a callable that "
            "makes one."
        )
    try:
        made = given()
    except TypeError as error:
        raise ModelError(
            f"model: calling {getattr(given, '__name__', given)!r} without arguments raised: "
            f"{error}; pass a callable that needs none, e.g. lambda: Net(width=64)."
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"model: the callable returned {type(made).__name__}, expected a torch.nn.Module."
        )
    return made
