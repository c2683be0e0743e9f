"""`predict` and `answers`: what a model says, in fp32, evaluation mode and the same batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from safecompress.errors import NonFiniteError
from safecompress.models.adapt import call
from safecompress.protocols import Outputs, Rows, map_inputs


def predict(module: nn.Module, rows: Rows, *, batch_size: int = 512) -> Outputs:
    """Return the model's outputs on `rows`.

    Args:
        module: any model that returns logits; its training flags, weights, buffers and gradients
            are as before afterwards.
        rows: n rows, on any device.
        batch_size: rows per call. Rounding may depend on it, so keep the default for outputs that
            are compared.

    Returns:
        Outputs on the CPU, logits float32 (n, classes).

    Raises:
        NonFiniteError: when a logit is NaN or infinite.
        ModelError: when the model's output has no logits.
    """
    return outputs_on(rows, answers(module, rows, batch_size=batch_size))


def answers(module: nn.Module, rows: Rows, *, batch_size: int = 512) -> Tensor:
    """Return what a model returns for `rows`, float32 on the CPU, whether or not it is finite.

    Args:
        module: any model, as `predict` takes it; it may return probabilities, too.
        rows: n rows, on any device.
        batch_size: rows per call.

    Returns:
        (n, columns), or (n,) where the model returns one number per row.

    Raises:
        ModelError: when the model's output has no logits.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    pieces = []
    with torch.inference_mode(), mode(module, training=False), full_precision(device):
        for start in range(0, max(1, len(rows)), batch_size):
            index = torch.arange(start, min(start + batch_size, len(rows)))
            inputs = map_inputs(lambda t, at=index: t[at].to(device), rows.inputs)  # type: ignore[misc]
            pieces.append(call(module, inputs).float().cpu())
    # Tensors of inference mode cannot be used in training, and attacks train models on logits;
    # a copy made outside that mode can.
    return torch.cat(pieces).clone()


def outputs_on(rows: Rows, logits: Tensor) -> Outputs:
    """Return a model's logits on `rows` as outputs.

    Args:
        rows: n rows, on any device.
        logits: float32 (n, classes), on the CPU.

    Raises:
        NonFiniteError: when a logit is NaN or infinite.
    """
    try:
        return Outputs(logits, rows.labels.cpu(), rows.ids.cpu())
    except NonFiniteError as error:
        raise NonFiniteError(
            f"{error} The model's weights or its inputs are broken; lower the learning rate if "
            "training diverged."
        ) from error


@contextmanager
def mode(module: nn.Module, *, training: bool) -> Iterator[None]:
    """Run a block with every submodule in training or evaluation mode; restore each one's flag.

    Args:
        module: the module.
        training: True for training mode, False for evaluation mode.
    """
    flags = [(m, m.training) for m in module.modules()]
    module.train(training)
    try:
        yield
    finally:
        for submodule, flag in flags:
            submodule.training = flag


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Run a block in fp32: no autocast, and no TF32 rounding of products on a GPU.

    Args:
        device: the device that computes.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            # cuDNN and cuBLAS may otherwise round fp32 inputs to 10 bits of mantissa.
            stack.enter_context(torch.backends.cudnn.flags(allow_tf32=False))
            precision = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("highest")
            stack.callback(torch.set_float32_matmul_precision, precision)
        yield
