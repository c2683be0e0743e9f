"""`open_hugging_face` and `TextClassifier`: a folder of a Hugging Face text classifier as a target.

Nothing is downloaded or unpickled, and code in the folder is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import DataError, ModelError, brief, taming_panics
from safecompress.pretrained import (
    check_tokenizer,
    checked_weights,
    classifier_names,
    longest_text,
    quiet,
    read_config,
    transformers,
)
from safecompress.pretrained.guard import library_config, require_sizes
from safecompress.protocols import Inputs, Pool, leading_size
from safecompress.targets.target import Target

_BATCH = 32


class TextClassifier(nn.Module):
    """A classifier that runs in small batches, because activations of long texts are large.

    Args:
        model: a `…ForSequenceClassification` of transformers; shared, not copied.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Tensor) -> Tensor:
        """Return logits (n, classes).

        Args:
            **inputs: tokens and masks by name, each (n, length).
        """
        pieces = []
        for start in range(0, leading_size(inputs), _BATCH):
            batch = {name: tensor[start : start + _BATCH] for name, tensor in inputs.items()}
            pieces.append(self.model(**batch).logits)
        return torch.cat(pieces)


def open_hugging_face(folder: Path) -> Target:
    """Read a folder as `save_pretrained` writes it, with the model and its tokenizer.

    Args:
        folder: the folder.

    Raises:
        ConfigError: when transformers is not installed.
        ModelError: when the folder holds another kind of model, pickled weights, code of its own,
            weights that do not fit, or no tokenizer.
    """
    settings = _check_config(folder)
    weights = checked_weights(folder)
    file = folder / "config.json"
    require_sizes(settings, weights, file=file)
    check_tokenizer(folder)
    library = transformers(folder)
    offline = {"local_files_only": True, "trust_remote_code": False}
    with quiet():
        try:
            with taming_panics():
                tokenizer = library.AutoTokenizer.from_pretrained(str(folder), **offline)
        except Exception as error:
            raise ModelError(f"{folder}: its tokenizer cannot be read: {brief(error)}") from error
        config = library_config(library, settings, file=file)
        try:
            model, loading = library.AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                config=config,
                use_safetensors=True,
                output_loading_info=True,
                **offline,
            )
        except Exception as error:
            raise ModelError(f"{folder}: the model cannot be read: {brief(error)}") from error
    # transformers draws missing weights at random, and a random model would pass any audit.
    if lacking := sorted(map(str, loading["missing_keys"])) or loading["mismatched_keys"]:
        raise ModelError(
            f"{folder}: its weights lack {len(lacking)} of the model's tensors, or hold them in "
            f"other shapes (first: {lacking[0]}); save the whole fine-tuned model with "
            "save_pretrained."
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"{folder}: its tokenizer has no padding token, so texts cannot be asked together; "
            "set tokenizer.pad_token and save both again."
        )
    longest = longest_text(tokenizer, model.config)
    names = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
    return Target(
        path=folder,
        kind="hugging-face",
        model=TextClassifier(model.float().eval()),
        inputs=lambda texts: _tokens(tokenizer, texts, longest=longest, folder=folder),
        texts=True,
        labels=tuple(names),
        files=tuple(weights),
    )


def _check_config(folder: Path) -> Mapping[str, Any]:
    config = read_config(folder)
    if not classifier_names(config):
        named = config.get("architectures")
        heads = named if isinstance(named, list) else []
        raise ModelError(
            f"{folder}: holds {', '.join(map(str, heads))[:100] or 'a model of no architecture'}; "
            f"expected a text classifier, an architecture that ends in ForSequenceClassification."
        )
    labels = config.get("id2label")
    if (isinstance(labels, dict) and len(labels) < 2) or config.get("num_labels") == 1:
        raise ModelError(f"{folder}: has one output, a regression; expected at least 2 classes.")
    return config


def _tokens(tokenizer: Any, texts: Pool[Any], *, longest: int, folder: Path) -> Pool[Inputs]:
    """Return both groups' tokens, padded to the longest text of both so that they look alike."""
    columns = texts.map(lambda given: _checked_columns(given, folder))
    first = len(columns.members[0])
    together = [
        [*texts_in, *texts_out]
        for texts_in, texts_out in zip(columns.members, columns.nonmembers, strict=True)
    ]
    try:
        with taming_panics():
            encoded = tokenizer(
                *together, padding=True, truncation=True, max_length=longest, return_tensors="pt"
            )
        names = [name for name in tokenizer.model_input_names if name in encoded]
        tokens = {str(name): encoded[name] for name in names}
    except Exception as error:
        raise ModelError(f"{folder}: its tokenizer failed: {brief(error)}") from error
    return Pool(
        {name: tensor[:first] for name, tensor in tokens.items()},
        {name: tensor[first:] for name, tensor in tokens.items()},
    )


def text_columns(given: Any) -> list[list[Any]]:
    """Return what a model of texts was given as columns; without any for another kind of input.

    Args:
        given: a sequence of texts, or a mapping or a tuple of such sequences.
    """
    if isinstance(given, Mapping):
        return [list(column) for column in given.values()]
    if isinstance(given, tuple) and all(_is_list(column) for column in given):
        return [list(column) for column in given]
    return [list(given)] if _is_list(given) else []


def _checked_columns(given: Any, folder: Path) -> list[list[str]]:
    """Return one list of texts, or two lists for a model of pairs of texts."""
    columns = text_columns(given)
    if len(columns) not in {1, 2} or not all(isinstance(t, str) for c in columns for t in c):
        what = f"{len(columns)} columns" if len(columns) > 2 else type(given).__name__
        raise DataError(
            f"{folder}: takes texts, a list of strings or a pair of such lists; got {what}."
        )
    return columns


def _is_list(given: Any) -> bool:
    return not isinstance(given, str | tuple) and (
        isinstance(given, Sequence) or getattr(given, "ndim", 0) == 1
    )
