"""`read_config`, `checked_weights`, `check_tokenizer`, `quiet`: a folder checked before it is read.

Nothing is downloaded or unpickled, and code in the folder is refused.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safecompress.errors import ConfigError, DataError, ModelError, brief
from safecompress.files import read_json

INSTALL = "pip install 'safecompress[transformers]'"
CONFIG = "config.json"
_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model")
_HEAD = "ForSequenceClassification"


def transformers(where: Path | str) -> Any:
    """Return the library transformers.

    Args:
        where: what it is needed for, for the message.

    Raises:
        ConfigError: when it is not installed.
    """
    try:
        import transformers as library
    except ImportError as error:
        raise ConfigError(f"{where}: transformers is not installed; {INSTALL}.") from error
    return library


def read_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a folder's model.

    Args:
        folder: the folder, as `save_pretrained` writes it.

    Raises:
        ModelError: when there are none, they want code of their own to be run, or the weights are
            quantized or an adapter's.
    """
    try:
        config = read_json(folder / CONFIG, encodable=True)
    except DataError as error:
        raise ModelError(f"{folder}: {brief(error)}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{folder / CONFIG}: expected a mapping of settings.")
    _refuse_code(config, folder / CONFIG)
    if (folder / "adapter_config.json").exists():
        raise ModelError(
            f"{folder}: holds an adapter, whose base model is elsewhere; merge both "
            "(merge_and_unload) and save the whole model."
        )
    return config


def classifier_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the architectures of a folder's settings that classify texts.

    Args:
        config: what `read_config` returned.
    """
    named = config.get("architectures")
    heads = named if isinstance(named, list) else []
    return tuple(str(name) for name in heads if str(name).endswith(_HEAD))


def checked_weights(folder: Path) -> list[Path]:
    """Return the files of weights; only safetensors in the folder itself are accepted.

    Args:
        folder: the folder.

    Raises:
        ModelError: when a file is missing, elsewhere, or only there as a pickle.
    """
    files = [folder / _WEIGHTS]
    if (folder / _INDEX).exists():
        try:
            places = read_json(folder / _INDEX, encodable=True)["weight_map"].values()
            names = sorted({str(name) for name in places})
        except (DataError, KeyError, TypeError, AttributeError) as error:
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


def check_tokenizer(folder: Path) -> list[Path]:
    """Return the files that a folder's tokenizer is read from, sorted by name.

    Args:
        folder: the folder.

    Raises:
        ModelError: when there is no tokenizer, or it wants code of its own to be run.
    """
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ModelError(
            f"{folder}: no tokenizer in it ({', '.join(_TOKENIZERS)}); save the one the model was "
            "trained with there, too: tokenizer.save_pretrained(folder)."
        )
    file = folder / "tokenizer_config.json"
    if file.is_file():
        try:
            settings = read_json(file, encodable=True)
        except DataError as error:
            raise ModelError(brief(error)) from error
        if isinstance(settings, dict):
            _refuse_code(settings, file)
    others = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt")
    return sorted(folder / n for n in (*_TOKENIZERS, *others) if (folder / n).is_file())


@contextmanager
def quiet() -> Iterator[None]:
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


def _refuse_code(config: Mapping[str, Any], file: Path) -> None:
    if "auto_map" in config or "custom_pipelines" in config:
        raise ModelError(
            f"{file}: wants code of its own to be run (auto_map); refused. Load the model "
            "yourself, if you trust it, and audit it in Python as any module."
        )
