"""`call`, `adapt`: call a model on inputs of any structure, and get its logits as one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from safecompress.errors import ModelError
from safecompress.protocols import Inputs, ModelLike


def adapt(output: Any) -> Tensor:
    """Return the logits in a model's output.

    Args:
        output: a tensor; a tuple or list whose first entry is one; or an object or mapping with
            `logits`, as Hugging Face models return.

    Raises:
        ModelError: when it is none of these.
    """
    if isinstance(output, Tensor):
        return output
    logits = getattr(output, "logits", None)
    if logits is None and isinstance(output, Mapping):
        logits = output.get("logits")
    if logits is None and isinstance(output, tuple | list) and output:
        logits = output[0]
    if isinstance(logits, Tensor):
        return logits
    raise ModelError(
        f"the model returned {type(output).__name__}; expected a tensor of logits, a tuple that "
        "starts with one, or an object with an attribute or key 'logits'."
    )


def call(model: ModelLike, inputs: Inputs) -> Tensor:
    """Return the logits of `model` for one batch.

    Args:
        model: any module or callable.
        inputs: a tensor is passed as the only argument, a tuple as positional arguments, a mapping
            as keyword arguments.

    Raises:
        ModelError: when there are no logits in the model's output.
    """
    if isinstance(inputs, Tensor):
        return adapt(model(inputs))
    if isinstance(inputs, tuple):
        return adapt(model(*inputs))
    return adapt(model(**inputs))
