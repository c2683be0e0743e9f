"""`ModelSource` and `module_of`: a module that a user gives as an object."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn

from safecompress.errors import FOREIGN, ModelError, SafeCompressError
from safecompress.models.plain import Remark, copied, ignore, plain_
from safecompress.models.tokens import adapted

ModelSource: TypeAlias = nn.Module | Callable[[], nn.Module]
"""A module, or a callable that makes one."""


def module_of(given: ModelSource, remark: Remark = ignore) -> nn.Module:
    """Return a plain module that may be changed: a copy of a given one, or what a callable makes.

    A text classifier of transformers comes as a module of one tensor of token ids.

    Args:
        given: a module, which stays as it is, or a callable without arguments.
        remark: called with a sentence about everything that was changed to make it plain.

    Raises:
        ModelError: when the callable takes arguments, or returns something else than a module; when
            a module cannot be copied or trained.
    """
    if isinstance(given, torch.jit.ScriptModule):
        return plain_(given)
    if isinstance(given, nn.Module):
        return adapted(plain_(copied(given), remark))
    if not callable(given):
        raise ModelError(
            f"model: got {type(given).__name__}; expected a torch.nn.Module or a callable that "
            "makes one."
        )
    try:
        made = given()
    except SafeCompressError:
        raise
    except TypeError as error:
        raise ModelError(
            f"model: calling {getattr(given, '__name__', given)!r} without arguments raised: "
            f"{error}; pass a callable that needs none, e.g. lambda: Net(width=64)."
        ) from error
    except FOREIGN as error:
        raise ModelError(
            f"model: calling {getattr(given, '__name__', given)!r} raised {type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}; it must make the untrained module."
        ) from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"model: the callable returned {type(made).__name__}, expected a torch.nn.Module."
        )
    return adapted(plain_(made, remark))
