"""`pretrained_classifier`, `new_bert`, `remade`: text classifiers of transformers.

All start from torch's global generator, which the caller seeds.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import nn

from safecompress.errors import ModelError, brief
from safecompress.pretrained.folder import (
    CONFIG,
    checked_weights,
    classifier_names,
    quiet,
    read_config,
    transformers,
)
from safecompress.pretrained.guard import library_config, require_sizes

Start: TypeAlias = Literal["auto", "encoder", "nothing"]
Attention: TypeAlias = Literal["sdpa", "eager"]
_OFFLINE = {"local_files_only": True, "trust_remote_code": False}


def pretrained_classifier(
    folder: Path, *, classes: int, start: Start, dropout: float | None, attention: Attention
) -> nn.Module:
    """Return a folder's model as a classifier whose head is drawn anew.

    Args:
        folder: a folder as `save_pretrained` writes it.
        classes: number of classes, at least 2.
        start: `encoder` reads the folder's weights but for a head; `nothing` takes the architecture
            alone; `auto` is `encoder`, but refuses a folder that holds a trained classifier.
        dropout: probability that replaces every dropout of the architecture, in [0, 1); None keeps
            them.
        attention: how attention is computed.

    Raises:
        ConfigError: when transformers is not installed.
        ModelError: when the folder cannot be used.
    """
    settings = read_config(folder)
    if "quantization_config" in settings:
        raise ModelError(
            f"{folder}: its weights are quantized, and training needs real numbers; save the model "
            "unquantized."
        )
    if start == "auto" and (heads := classifier_names(settings)):
        raise ModelError(
            f"{folder}: holds a trained classifier ({heads[0]}), so these rows may be among those "
            "it was trained on, and a wrong guess gives a false PASS. Say which: options.start: "
            "encoder drops its head and says that it saw none of these rows; options.start: "
            "nothing takes its architecture alone, for which model.weights can name the file of "
            "the trained weights."
        )
    library = transformers(folder)
    config = library_config(library, settings, file=folder / CONFIG)
    _prepare_(config, classes=classes, dropout=dropout)
    if start == "nothing":
        return _from_nothing(library, config, attention, where=str(folder))
    require_sizes(settings, checked_weights(folder), file=folder / CONFIG)
    try:
        with quiet():
            model, loading = library.AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                attn_implementation=attention,
                **_OFFLINE,
            )
    except Exception as error:
        raise ModelError(f"{folder}: the model cannot be read: {brief(error)}") from error
    _check_loaded(folder, model, loading)
    return _with_fresh_head(library, config, model.float(), attention, where=str(folder))


def new_bert(
    *,
    vocabulary: int,
    pad: int,
    longest: int,
    classes: int,
    layers: int,
    size: int,
    heads: int,
    inner: int,
    dropout: float,
    attention: Attention,
) -> nn.Module:
    """Return a BERT classifier with weights drawn at random.

    Args:
        vocabulary: number of tokens.
        pad: id of the padding.
        longest: most tokens of a row.
        classes: number of classes.
        layers: number of encoder layers.
        size: numbers that stand for a token.
        heads: attention heads of a layer; a divisor of `size`.
        inner: width of the hidden layer inside every encoder layer.
        dropout: probability of dropping a number, in [0, 1).
        attention: how attention is computed.

    Raises:
        ConfigError: when transformers is not installed.
        ModelError: when the sizes do not fit together.

    Reference: Devlin et al., NAACL 2019, section 3.
    """
    library = transformers("bert")
    config = library.BertConfig(
        vocab_size=vocabulary,
        hidden_size=size,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=longest,
        pad_token_id=pad,
    )
    _prepare_(config, classes=classes, dropout=dropout)
    return _from_nothing(library, config, attention, where="bert")


def remade(model: nn.Module) -> nn.Module:
    """Return a model of the same class and settings, its weights drawn anew as its class does.

    Args:
        model: a model of transformers.

    Raises:
        ModelError: when its class cannot make it.
    """
    config = copy.deepcopy(model.config)
    kind = type(model)
    try:
        with quiet():
            return kind(config)
    except Exception as error:
        raise ModelError(
            f"the model's {kind.__name__} cannot be made anew from its settings: {brief(error)}"
        ) from error


def _prepare_(config: Any, *, classes: int, dropout: float | None) -> None:
    config.num_labels = classes
    config.problem_type = "single_label_classification"
    if dropout is not None:
        for name in list(config.to_dict()):
            if name.endswith(("dropout", "dropout_prob", "_pdrop")) and isinstance(
                getattr(config, name), int | float | None
            ):
                setattr(config, name, dropout)


def _from_nothing(library: Any, config: Any, attention: Attention, *, where: str) -> nn.Module:
    try:
        with quiet():
            made: nn.Module = library.AutoModelForSequenceClassification.from_config(
                config, attn_implementation=attention
            )
    except Exception as error:
        raise ModelError(f"{where}: the model cannot be made: {brief(error)}") from error
    return made.float()


def _with_fresh_head(
    library: Any, config: Any, model: Any, attention: Attention, *, where: str
) -> nn.Module:
    """Return the model with everything outside its encoder drawn by the seed alone.

    Some of these tensors may be in the file, and how many random numbers reading a file draws is
    the library's matter.
    """
    fresh: Any = _from_nothing(library, config, attention, where=where)
    fresh.base_model.load_state_dict(model.base_model.state_dict(), strict=False)
    return fresh  # type: ignore[no-any-return]


def _check_loaded(folder: Path, model: Any, loading: Any) -> None:
    """Refuse a folder whose weights lack a part of the encoder, which would be random then."""
    inside = f"{model.base_model_prefix}."
    wrong = [str(n[0] if isinstance(n, tuple) else n) for n in loading["mismatched_keys"]]
    lacking = sorted(
        name
        for name in [*map(str, loading["missing_keys"]), *wrong]
        if name.startswith(inside) and ".pooler." not in name
    )
    if lacking:
        raise ModelError(
            f"{folder}: its weights lack {len(lacking)} of the encoder's tensors, or hold them in "
            f"other shapes (first: {lacking[0]}); save the whole model with save_pretrained."
        )
