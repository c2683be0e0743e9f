"""`hugging_face` and `bert`: text classifiers, from a pretrained folder and from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from torch import nn

from safecompress.errors import ModelError
from safecompress.models.registry import MODELS
from safecompress.models.shapes import require_classes, require_dropout, require_positive
from safecompress.models.tokens import TokenClassifier
from safecompress.pretrained import (
    Attention,
    Start,
    TextTokenizer,
    new_bert,
    pretrained_classifier,
)


def hugging_face(
    *,
    input_shape: Sequence[int],
    classes: int,
    folder: str,
    tokenizer: str | None = None,
    start: Start = "auto",
    dropout: float | None = None,
    attention: Attention = "sdpa",
) -> nn.Module:
    """Return a pretrained encoder from a local folder, with a new head for the classes of the data.

    This is what the model is before training: teachers and shadow models, too, start from the
    pretrained encoder, each with a head of its own. Nothing is downloaded, no code of the folder is
    run, and weights are read from safetensors alone.

    Args:
        input_shape: (length,), the tokens of a row.
        classes: number of classes, at least 2.
        folder: a folder as `save_pretrained` writes it, with config.json and model.safetensors.
        tokenizer: folder of the tokenizer; None where it is in `folder`, too.
        start: `encoder` starts from the weights of the folder, `nothing` from its architecture
            alone. `auto` is `encoder`, but refuses a folder whose model was trained to classify,
            because these rows may be among those that it has learned.
        dropout: probability that replaces every dropout of the model, in [0, 1); None keeps them.
        attention: `sdpa` for torch's fused attention, or `eager` for the same in single steps.

    Raises:
        ConfigError: when transformers is not installed.
        ModelError: on a folder that cannot be used, a bad option, or rows that are too long.
    """
    _check(input_shape, classes, dropout, attention, name="hugging_face")
    if start not in get_args(Start):
        raise ModelError(
            f"hugging_face: start is '{start}'; expected {', '.join(get_args(Start))}."
        )
    model: Any = pretrained_classifier(
        Path(folder).expanduser().absolute(),
        classes=classes,
        start=start,
        dropout=dropout,
        attention=attention,
    )
    tokens = TextTokenizer(Path(tokenizer or folder).expanduser().absolute())
    _check_fits(model, tokens, length=input_shape[0], name="hugging_face")
    return TokenClassifier(model, pad=tokens.pad, separator=tokens.separator)


MODELS.add(
    "hugging_face",
    hugging_face,
    summary="a pretrained text encoder from a local folder, with a new head",
    cost="the folder's; MiniLM with 6 layers has 22.7 M weights, 11.7 M of them embeddings",
)


def bert(
    *,
    input_shape: Sequence[int],
    classes: int,
    tokenizer: str,
    layers: int = 2,
    size: int = 128,
    heads: int = 2,
    width: float = 1.0,
    dropout: float = 0.1,
    attention: Attention = "sdpa",
) -> nn.Module:
    """Return a BERT of any size with weights drawn at random.

    Args:
        input_shape: (length,), the tokens of a row.
        classes: number of classes, at least 2.
        tokenizer: local folder of a tokenizer, whose vocabulary the model gets.
        layers: number of encoder layers.
        size: numbers that stand for a token; a layer's hidden units are four times as many.
        heads: attention heads of a layer; a divisor of `size` times `width`.
        width: multiplies `size`, > 0.
        dropout: probability of dropping a number, in [0, 1).
        attention: `sdpa` for torch's fused attention, or `eager` for the same in single steps.

    Raises:
        ConfigError: when transformers is not installed.
        ModelError: on a bad option or a folder without a tokenizer.

    Reference: Devlin et al., NAACL 2019, section 3; the default size is that of BERT-tiny, Turc et
    al., arXiv 1908.08962, table 1.
    """
    _check(input_shape, classes, dropout, attention, name="bert")
    require_positive("bert", layers=layers, size=size, heads=heads, width=width)
    # Whole heads, so that every width works.
    wide = max(1, round(size * width / heads)) * heads
    tokens = TextTokenizer(Path(tokenizer).expanduser().absolute())
    model = new_bert(
        vocabulary=tokens.vocabulary,
        pad=tokens.pad,
        longest=input_shape[0],
        classes=classes,
        layers=layers,
        size=wide,
        heads=heads,
        inner=4 * wide,
        dropout=dropout,
        attention=attention,
    )
    return TokenClassifier(model, pad=tokens.pad, separator=tokens.separator)


MODELS.add(
    "bert",
    bert,
    summary="a BERT of any size with random weights",
    reference="Devlin et al., NAACL 2019",
    cost="4.3 M weights with BERT's own vocabulary, 3.9 M of them embeddings",
)


def _check(
    input_shape: Sequence[int],
    classes: int,
    dropout: float | None,
    attention: str,
    *,
    name: str,
) -> None:
    require_classes(name, classes)
    require_dropout(name, dropout or 0.0)
    if len(input_shape) != 1:
        raise ModelError(
            f"{name}: inputs have shape {tuple(input_shape)}; expected the token ids of a text, "
            "(length,). Name a tokenizer (data.preprocessing.tokenizer)."
        )
    if attention not in get_args(Attention):
        raise ModelError(
            f"{name}: attention is '{attention}'; expected {' or '.join(get_args(Attention))}."
        )


def _check_fits(model: Any, tokens: TextTokenizer, *, length: int, name: str) -> None:
    config = model.config
    known = getattr(config, "vocab_size", None)
    if known is not None and known < tokens.vocabulary:
        raise ModelError(
            f"{name}: the tokenizer of {tokens.folder} has {tokens.vocabulary} tokens and the "
            f"model knows {known}; name the tokenizer that the model was trained with."
        )
    longest = tokens.longest_for(config)
    if length > longest:
        raise ModelError(
            f"{name}: rows have {length} tokens and the model takes {longest}; set "
            f"data.preprocessing.max_length: {longest} or less."
        )
