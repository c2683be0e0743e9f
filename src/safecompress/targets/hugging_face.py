"""`open_hugging_face` and `TextClassifier`: a folder of a Hugging Face text classifier as a target.

Nothing is downloaded or unpickled, and code in the folder is refused.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.errors import ConfigError, DataError, ModelError
from safecompress.files import read_json
from safecompress.protocols import Inputs, Pool, leading_size
from safecompress.targets.target import Target, brief

INSTALL = "pip install 'safecompress[transformers]'"
CONFIG = "config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
_MOST_TOKENS = 512
"""Longest text in tokens where neither the tokenizer nor the model sets a limit."""
_BATCH = 32
_HEAD = "ForSequenceClassification"


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
    _check_config(folder)
    weights = _checked_weights(folder)
    _check_tokenizer(folder)
    try:
        import transformers
    except ImportError as error:
        raise ConfigError(f"{folder}: transformers is not installed; {INSTALL}.") from error
    offline = {"local_files_only": True, "trust_remote_code": False}
    with _silent():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), **offline)
        except Exception as error:
            raise ModelError(f"{folder}: its tokenizer cannot be read: {brief(error)}") from error
        try:
            model, loading = transformers.AutoModelForSequenceClassification.from_pretrained(
                str(folder), use_safetensors=True, output_loading_info=True, **offline
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
    longest = _longest(tokenizer, model.config)
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


def _check_config(folder: Path) -> None:
    try:
        config = read_json(folder / CONFIG)
    except (DataError, RecursionError) as error:
        raise ModelError(f"{folder}: {brief(error)}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{folder / CONFIG}: expected a mapping of settings.")
    _refuse_code(config, folder / CONFIG)
    named = config.get("architectures")
    heads = named if isinstance(named, list) else []
    if not any(str(name).endswith(_HEAD) for name in heads):
        raise ModelError(
            f"{folder}: holds {', '.join(map(str, heads))[:100] or 'a model of no architecture'}; "
            f"expected a text classifier, an architecture that ends in {_HEAD}."
        )
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder}: holds an adapter, whose base model is elsewhere; merge both "
            "(merge_and_unload) and save the whole model."
        )
    labels = config.get("id2label")
    if (isinstance(labels, dict) and len(labels) < 2) or config.get("num_labels") == 1:
        raise ModelError(f"{folder}: has one output, a regression; expected at least 2 classes.")


def _refuse_code(config: Mapping[str, Any], file: Path) -> None:
    if "auto_map" in config or "custom_pipelines" in config:
        raise ModelError(
            f"{file}: wants code of its own to be run (auto_map); refused. Load the model "
            "yourself, if you trust it, and audit it in Python as any module."
        )


def _checked_weights(folder: Path) -> list[Path]:
    """Return the files of weights; only safetensors in the folder itself are accepted."""
    files = [folder / _WEIGHTS]
    if (folder / _INDEX).exists():
        try:
            places = read_json(folder / _INDEX)["weight_map"].values()
            names = sorted({str(name) for name in places})
        except (DataError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / _INDEX}: damaged ({brief(error)}).") from error
        if outside := [name for name in names if Path(name).name != name]:
            raise ModelError(
                f"{folder / _INDEX}: wants weights from '{outside[0][:100]}', outside its own "
                "folder; refused."
            )
        files = [folder / name for name in names]
    if missing := [file for file in files if not file.is_file()]:
        pickled = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")]
        raise ModelError(
            f"{folder}: no {missing[0].name} in it"
            + (
                f", only {pickled[0].name}, a pickle, which may run code when it is read; refused."
                if pickled
                else "."
            )
            + " Save the model again with save_pretrained, which writes safetensors."
        )
    return files


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ModelError(
            f"{folder}: no tokenizer in it ({', '.join(_TOKENIZERS)}); save the one the model was "
            "trained with there, too: tokenizer.save_pretrained(folder)."
        )
    file = folder / "tokenizer_config.json"
    if file.is_file():
        try:
            settings = read_json(file)
        except (DataError, RecursionError) as error:
            raise ModelError(brief(error)) from error
        if isinstance(settings, dict):
            _refuse_code(settings, file)


def _longest(tokenizer: Any, config: Any) -> int:
    """Return the largest number of tokens of a text that the model takes."""
    places = getattr(config, "max_position_embeddings", None)
    if places is not None and "roberta" in str(config.model_type):
        # RoBERTa numbers tokens from pad_token_id + 1, so the positions before hold no token.
        places -= int(config.pad_token_id) + 1
    limits = [n for n in (tokenizer.model_max_length, places) if n and 0 < n < 1 << 20]
    return int(min(limits, default=_MOST_TOKENS))


def _tokens(tokenizer: Any, texts: Pool[Any], *, longest: int, folder: Path) -> Pool[Inputs]:
    """Return both groups' tokens, padded to the longest text of both so that they look alike."""
    columns = texts.map(lambda given: _checked_columns(given, folder))
    first = len(columns.members[0])
    together = [
        [*texts_in, *texts_out]
        for texts_in, texts_out in zip(columns.members, columns.nonmembers, strict=True)
    ]
    try:
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


@contextmanager
def _silent() -> Iterator[None]:
    """Silence the progress bars and messages of transformers, and restore its settings after."""
    from transformers.utils import logging as library

    progress, level = library.is_progress_bar_enabled(), library.get_verbosity()
    library.disable_progress_bar()
    library.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.set_verbosity(level)
        if progress:
            library.enable_progress_bar()
