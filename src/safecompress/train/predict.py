"""`predict` and `answers`: what a model says, in fp32, evaluation mode and the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext

import torch
from torch import Tensor, nn

from safecompress.errors import (
    FOREIGN,
    ModelError,
    NonFiniteError,
    SafeCompressError,
    telling_memory_shortage,
)
from safecompress.models.adapt import adapt, call
from safecompress.protocols import Inputs, ModelLike, Outputs, Rows, map_inputs


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
        ModelError: when the model raises an error, or its output has no logits.
    """
    return outputs_on(rows, answers(module, rows, batch_size=batch_size))


def answers(module: nn.Module, rows: Rows, *, batch_size: int = 512) -> Tensor:
    """Return what a model returns for `rows`, float32 on the CPU, whether or not it is finite.

    Args:
        module: any model, as `predict` takes it; it may return probabilities, too.
        rows: n rows, on any device; the model gets their table where they have one.
        batch_size: rows per call.

    Returns:
        (n, columns), or (n,) where the model returns one number per row.

    Raises:
        ModelError: when the model raises an error, or does not return one row for each row.
    """
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    pieces = []
    with torch.inference_mode(), mode(module, training=False), full_precision(device):
        for start in range(0, max(1, len(rows)), batch_size):
            index = torch.arange(start, min(start + batch_size, len(rows)))
            pieces.append(_answers(module, rows, index, device))
    if len({tuple(piece.shape[1:]) for piece in pieces}) > 1:
        shapes = ", ".join(str(tuple(piece.shape)) for piece in pieces[:3])
        raise ModelError(f"the model returned other shapes for other batches: {shapes}, …")
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


def _answers(module: nn.Module, rows: Rows, index: Tensor, device: torch.device) -> Tensor:
    """Return the outputs for one batch; whatever the model raises becomes a ModelError."""
    inputs = map_inputs(lambda t: t.to(device), rows.batch(index))
    try:
        with telling_memory_shortage():
            if rows.table is None:
                outputs = call(module, inputs)
            else:
                outputs = adapt(module(rows.table.take(index).content))
    except SafeCompressError:
        raise
    except FOREIGN as error:
        given = described(inputs) if rows.table is None else type(rows.table.content).__name__
        first, last = (int(index[0]), int(index[-1])) if len(index) else (0, 0)
        raise ModelError(
            f"the model raised {type(error).__name__} for rows {first} to {last}, given {given}: "
            f"{' '.join(str(error).split())[:300]}. Give the rows as the model takes them, in "
            "batches of up to 512."
        ) from error
    if outputs.ndim not in (1, 2) or len(outputs) != len(index):
        raise ModelError(
            f"the model returned shape {tuple(outputs.shape)} for {len(index)} rows; expected "
            f"({len(index)}, classes). Of several results, such as a loss and logits, let it "
            "return the logits alone."
        )
    if not outputs.is_floating_point() and outputs.numel() == len(outputs):
        raise ModelError(
            f"the model returned one {outputs.dtype} for each row, like predicted classes; "
            "expected logits or probabilities."
        )
    return outputs.float().cpu()


def described(inputs: Inputs) -> str:
    """Return type and shape of every tensor, for messages.

    Args:
        inputs: one tensor, a tuple or a mapping of tensors.
    """
    named: Mapping[str, Tensor]
    if isinstance(inputs, Tensor):
        named = {"": inputs}
    elif isinstance(inputs, tuple):
        named = {f"{place}: ": tensor for place, tensor in enumerate(inputs)}
    else:
        named = {f"{name}: ": tensor for name, tensor in inputs.items()}
    return ", ".join(
        f"{name}{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for name, t in named.items()
    )


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
def evaluating(model: ModelLike) -> Iterator[None]:
    """Run a block with a model in training put in evaluation mode; restore every part's flag.

    Args:
        model: a callable; one that is not a module has no mode.
    """
    with mode(model, training=False) if isinstance(model, nn.Module) else nullcontext():
        yield


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
