"""`Step`, `telling_fault`, `random_layer`: what a model cannot do, where, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import (
    FOREIGN,
    ModelError,
    NonFiniteError,
    SafeCompressError,
    telling_memory_shortage,
)
from safecompress.models.place import Place
from safecompress.protocols import Rows
from safecompress.train.predict import answers

_REMEDIES = {
    r"more than 1 (value|spatial element)": "batch normalization needs at least two rows in a "
    "batch; raise train.batch_size",
    r"inplace operation|in-place": "write into a new tensor instead of changing one in place",
    r"does not require grad|no grad": "let its answers depend on its parameters, outside of "
    "torch.no_grad and detach",
    r"second time": "keep no computed tensor from one call to the next; detach it",
    r"channels_last": "set train.memory_format: contiguous",
    r"dtype|expected scalar type": "convert the model to 32-bit floats: model.float()",
}
_USUAL = "correct that part of the model; the same steps with a batch of your own show the error"


@dataclass
class Step:
    """What is being done with a model, for the message if it fails.

    Attributes:
        text: what, as the end of "while …".
        place: the layer whose code is running.
    """

    text: str = "being copied"
    place: Place = field(default_factory=Place)


def random_layer(module: nn.Module, rows: Rows) -> str:
    """Return the layer from which on answers are random, in words; empty where it is not known.

    Args:
        module: a model whose answers to the same rows differ.
        rows: the rows.
    """
    first, again = _said(module, rows), _said(module, rows)
    for (name, one), (_, other) in zip(first, again, strict=False):
        if not torch.equal(one, other):
            return f" from {name} on"
    return ""


def _said(module: nn.Module, rows: Rows) -> list[tuple[str, Tensor]]:
    """Return what every layer returns, in the order in which they finish."""
    said: list[tuple[str, Tensor]] = []

    def listen(name: str) -> Any:
        def hook(part: nn.Module, given: Any, returned: Any) -> None:
            del given
            if isinstance(returned, Tensor):
                said.append((f"{name or 'the outermost module'} ({type(part).__name__})", returned))

        return hook

    handles = [part.register_forward_hook(listen(name)) for name, part in module.named_modules()]
    try:
        answers(module, rows)
    finally:
        for handle in handles:
            handle.remove()
    return said


@contextmanager
def telling_fault(step: Step) -> Iterator[None]:
    """Run a block of steps; whatever fails becomes one error with the layer and the remedy.

    Args:
        step: what is being done, kept up to date by the block.

    Raises:
        ModelError: for everything but an error of this package, and for NaN.
    """
    try:
        with telling_memory_shortage():
            yield
    except NonFiniteError as error:
        raise ModelError(
            f"the model failed while {step.text}: {error} Its untrained or given weights already "
            "lead there; check them and the preprocessing of the data."
        ) from error
    except SafeCompressError:
        raise
    except FOREIGN as error:
        reason = " ".join(str(error).split())[:200]
        remedy = next(
            (
                r
                for pattern, r in _REMEDIES.items()
                if re.search(pattern, str(error), re.IGNORECASE)
            ),
            _USUAL,
        )
        where = f" in {step.place}" if str(step.place) else ""
        raise ModelError(
            f"the model failed{where} while {step.text}: {type(error).__name__}: {reason}. "
            f"To go on: {remedy}."
        ) from error
