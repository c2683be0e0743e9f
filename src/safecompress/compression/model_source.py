"""`source_module`, `untrained_weights`: the module that a run works on, given or configured."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import ConfigError, ModelError
from safecompress.models import build_model, fresh_weights, load_weights_
from safecompress.models.given import ModelSource, module_of
from safecompress.models.plain import Remark, ignore, plain_
from safecompress.models.tokens import TokenClassifier, read_like_
from safecompress.models.words import Words, declare_words_
from safecompress.randomness import derive, seeded
from safecompress.train.state import module_tensors


def source_module(
    config: CompressConfig,
    model: ModelSource | None,
    splits: Splits,
    remark: Remark = ignore,
) -> tuple[nn.Module, str]:
    """Return the module that a run works on, and its name in the report.

    Where a tokenizer made the rows, the module also says what their ids mean (`words_of`).

    Args:
        config: names a model, if `model` is None; gives the seed of its initial weights.
        model: a trained module, which is copied; a callable that makes an untrained one; or None
            for the configured model. A text classifier of transformers becomes a module of token
            ids, and reads rows as the splits' tokenizer wrote them.
        splits: give input shape and classes of a configured model.
        remark: called with a sentence about everything that was changed to make it plain.

    Raises:
        ConfigError: when no model is given or configured.
        ModelError: when the callable fails, or returns something else than a module.
    """
    module, name = _made(config, model, splits, remark)
    if (tokens := splits.tokens) is not None:
        read_like_(module, pad=tokens.pad, separator=tokens.separator)
        declare_words_(module, Words(tokens.pad, tokens.special, tokens.mask))
    return module, name


def _made(
    config: CompressConfig, model: ModelSource | None, splits: Splits, remark: Remark
) -> tuple[nn.Module, str]:
    if model is not None:
        with seeded(config.seed, "init"):
            made = module_of(model, remark)
        return made, type(made.model if isinstance(made, TokenClassifier) else made).__name__
    if config.model is None:
        raise ConfigError("model: missing; name one in the configuration or pass one.")
    module = build_model(
        config.model,
        input_shape=splits.input_shape,
        classes=splits.classes,
        seed=config.seed,
    )
    if config.model.weights is not None:
        load_weights_(module, config.model.weights)
    return plain_(module, remark), config.model.name


def untrained_weights(
    config: CompressConfig,
    model: ModelSource | None,
    splits: Splits,
    module: nn.Module,
    number: int,
) -> Mapping[str, Tensor]:
    """Return untrained weights for a teacher, different from those of all other models.

    Of a pretrained text encoder these are the pretrained weights with another head, because nothing
    in them was learned from the run's rows.

    Args:
        config: as of `source_module`.
        model: as of `source_module`.
        splits: as of `source_module`.
        module: the run's module; a copy of it is initialized again if `model` is a trained module.
        number: number of the teacher, from 0; equal numbers give equal weights.

    Raises:
        ModelError: when the model was given as a trained object and has parameters that none of its
            modules can initialize.
    """
    seed = derive(config.seed, "fresh", number)
    if not isinstance(model, nn.Module):
        named = config.model and config.model.model_copy(update={"weights": None})
        anew = config.model_copy(update={"seed": seed, "model": named})
        made, _ = source_module(anew, model, splits)
        return module_tensors(made)
    try:
        return fresh_weights(module, seed=seed)
    except ModelError as error:
        raise ModelError(
            f"{error} Teachers are trained from untrained weights: give that module a "
            "reset_parameters method, pass a callable that makes the untrained model, or do "
            "without teachers (leave student and soft-labels out of steer.proposals)."
        ) from error
