"""`build_model`, `check_model`: a model from its configuration, tried on rows of the data."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from safecompress import randomness
from safecompress.config import ModelConfig
from safecompress.errors import ConfigError, ModelError, SafeCompressError, brief
from safecompress.imports import current_folder_importable, import_callable
from safecompress.models.adapt import adapt, call
from safecompress.models.registry import MODELS
from safecompress.models.weights import load_weights_
from safecompress.protocols import Rows, map_inputs

__all__ = ["adapt", "build_model", "check_model", "load_weights_"]


def build_model(
    config: ModelConfig, *, input_shape: Sequence[int], classes: int, seed: int
) -> nn.Module:
    """Return a freshly initialized model; `load_weights_` loads `config.weights` afterwards.

    Args:
        config: a family's name, or an import path `package.module:callable`, and options. The
            current folder is importable. The callable gets the options, and `input_shape` and
            `classes` where its signature has them.
        input_shape: shape of one input, without the batch dimension.
        classes: number of classes.
        seed: the run's seed, which fixes the initialization; torch's global generators are restored
            afterwards.

    Raises:
        ConfigError: on an unknown family or option.
        ModelError: when the model cannot be built for this input, or is not an `nn.Module`.
    """
    data = {"input_shape": tuple(input_shape), "classes": classes}
    for name, value in data.items():
        if name in config.options and ":" not in config.name:
            raise ConfigError(
                f"model.options.{name}: comes from the data ({value}); remove the option."
            )
    with randomness.seeded(seed, "init"):
        if ":" in config.name:
            return _from_import_path(config, data)
        try:
            return MODELS.build({config.name: {**config.options, **data}}, where="model")
        except ConfigError as error:
            if isinstance(error.__cause__, ModelError):
                raise error.__cause__ from None
            raise
        except (RuntimeError, MemoryError, OverflowError) as error:
            # Torch counts the bytes of a weight only where it makes it.
            raise ModelError(
                f"model '{config.name}' could not be built with {config.options}: {brief(error)}; "
                "are its sizes right?"
            ) from error


def _from_import_path(config: ModelConfig, data: dict[str, Any]) -> nn.Module:
    with current_folder_importable():
        factory = import_callable(config.name, where="model", error=ModelError)
        arguments = _accepted(factory, data) | config.options
        try:
            module = factory(**arguments)
        except SafeCompressError:
            raise
        except Exception as error:
            raise ModelError(
                f"model '{config.name}' could not be built with {arguments}: "
                f"{type(error).__name__}: {error}"
            ) from error
    if not isinstance(module, nn.Module):
        raise ModelError(
            f"model '{config.name}' returned {type(module).__name__}; expected a torch.nn.Module."
        )
    return module


def _accepted(factory: Callable[..., Any], data: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of `data` that the factory's signature names."""
    try:
        parameters = inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
    return {name: value for name, value in data.items() if name in parameters}


def check_model(module: nn.Module, rows: Rows, classes: int) -> None:
    """Call the model on two rows as it will be called later, in evaluation and in training mode.

    Args:
        module: any model; its buffers, its training flag and torch's global generators are restored
            afterwards.
        rows: rows of the data, at least one.
        classes: number of classes.

    Raises:
        ModelError: when a parameter is uninitialized, NaN or infinite, when a call fails, or when
            the logits are not finite numbers of shape (2, classes).
    """
    _check_parameters(module)
    index = torch.arange(2) % max(1, len(rows))
    parameter = next(module.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    inputs = map_inputs(lambda t: t.to(device), rows.batch(index))
    training = module.training
    buffers = [(b, b.clone()) for b in module.buffers()]
    try:
        with torch.no_grad(), randomness.seeded(0, "check"):
            for mode in ("evaluation", "training"):
                module.train(mode == "training")
                try:
                    logits = call(module, inputs)
                except SafeCompressError:
                    raise
                except Exception as error:
                    raise ModelError(
                        f"the model failed in {mode} mode on two rows of shape "
                        f"{_shapes(inputs)}: {type(error).__name__}: {error}. "
                        f"{_remedy(module, inputs)}"
                    ) from error
                _check_logits(logits, classes=classes, mode=mode)
    finally:
        module.train(training)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def _remedy(module: nn.Module, inputs: Any) -> str:
    """Return what to do about a model that cannot take these rows."""
    wrong = {p.dtype for p in module.parameters() if p.is_floating_point()} - {torch.float32}
    if wrong:
        types = ", ".join(sorted(str(t).removeprefix("torch.") for t in wrong))
        return f"Some of its parameters are {types}; convert it: model.float()."
    remedies = (
        (
            Tensor.float,
            "Its layers take real numbers, and whole numbers reach it as int64: give "
            "the rows as floats, or let its forward begin with x = x.float().",
        ),
        (
            Tensor.long,
            "It takes whole numbers, as embeddings do, and rows reach it as float32: "
            "give them as an array of integers with preprocessing.features: none, or let its "
            "forward begin with x = x.long().",
        ),
    )
    for convert, why in remedies:
        with suppress(Exception):
            call(module, map_inputs(convert, inputs))
            return why
    return "Check that its input size fits the data; the family mlp accepts any shape."


def _check_parameters(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if is_lazy(parameter):
            raise ModelError(
                f"the model's '{name}' is a lazy parameter without a shape; call the model once "
                "before handing it over, or give the layer its input size."
            )
        if not bool(torch.isfinite(parameter).all()):
            bad = int((~torch.isfinite(parameter)).sum())
            raise ModelError(
                f"the model's '{name}' has {bad} of {parameter.numel()} values NaN or infinite; "
                "these weights cannot be used."
            )


def _check_logits(logits: Tensor, *, classes: int, mode: str) -> None:
    if tuple(logits.shape) != (2, classes):
        raise ModelError(
            f"the model returned shape {tuple(logits.shape)} for two rows; expected "
            f"(2, {classes}), one logit per class of the data. Set the model's number of classes "
            f"to {classes}."
        )
    if not logits.is_floating_point() or not bool(torch.isfinite(logits).all()):
        raise ModelError(
            f"the model's logits for two rows are not finite numbers in {mode} mode; "
            "check its weights and the preprocessing of the data."
        )


def _shapes(inputs: Any) -> str:
    if isinstance(inputs, Tensor):
        return str(tuple(inputs.shape))
    if isinstance(inputs, tuple):
        return ", ".join(str(tuple(t.shape)) for t in inputs)
    return ", ".join(f"{k} {tuple(t.shape)}" for k, t in inputs.items())
