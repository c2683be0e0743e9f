"""`library_config`, `require_sizes`: what a Hugging Face `config.json` may say to its library.

The library reads any key, and some keys load code, kernels or other files from elsewhere. So only
keys that the model's own class declares reach it, and others if their values are plain: numbers
and single words. Sizes are compared with the weights, because building a model of 10⁹ layers, or
filling a table of 10¹² rows, ends long after anybody waits for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safecompress.errors import ModelError, brief
from safecompress.files import parsed_json

_CODE = frozenset({"auto_map", "custom_pipelines", "trust_remote_code"})
_KERNELS = frozenset({"attn_implementation", "experts_implementation", "kernel_config"})
_QUANTIZED = frozenset({"quantization_config", "compression_config"})
_WORD = re.compile(r"[A-Za-z0-9_]{0,40}")
_LAYERS = re.compile(r"layer|depth|block|stage")
_LEAST_LIMIT = 1 << 20
"""A size up to which any model is built at once, for keys that are no sizes of tensors."""


def library_config(library: Any, settings: Mapping[str, Any], *, file: Path) -> Any:
    """Return the library's own object for those settings that may reach it.

    Args:
        library: transformers.
        settings: the content of `config.json`.
        file: path for messages.

    Raises:
        ModelError: when the library does not know the model, or a setting is refused.
    """
    name = settings.get("model_type")
    try:
        kind = library.AutoConfig.for_model(name)
        declared = {*kind.to_dict(), *getattr(kind, "attribute_map", {})}
    except Exception as error:
        raise ModelError(
            f"{file}: its model_type '{str(name)[:60]}' is none that transformers "
            f"{library.__version__} has ({brief(error)})."
        ) from error
    allowed = allowed_settings(settings, declared, file=file)
    try:
        return type(kind).from_dict(allowed)
    except Exception as error:
        raise ModelError(f"{file}: cannot be read: {brief(error)}") from error


def allowed_settings(
    settings: Mapping[str, Any], known: Collection[str], *, file: Path
) -> dict[str, Any]:
    """Return those settings that may reach the library.

    Args:
        settings: the content of `config.json`.
        known: keys that the class of the model's settings declares.
        file: path for messages.

    Raises:
        ModelError: when a setting, at any depth, wants code or kernels from elsewhere, or says that
            the weights are quantized.
    """
    for key, value in _all(settings):
        name = key.lstrip("_").removesuffix("_internal").removesuffix("_autoset")
        if name in _CODE and value:
            raise ModelError(
                f"{file}: wants code of its own to be run ({key}); refused. Load the model "
                "yourself, if you trust it, and audit it in Python as any module."
            )
        if name in _KERNELS and not _is_plain(value):
            raise ModelError(
                f"{file}: wants kernels from '{str(value)[:60]}' ({key}); refused, because they "
                "are code from elsewhere. Remove the key."
            )
        if name in _QUANTIZED and value:
            raise ModelError(
                f"{file}: its weights are quantized ({key}), which needs other libraries and "
                "their kernels; save the model with plain weights."
            )
    never = _CODE | _KERNELS | _QUANTIZED
    return {
        key: value
        for key, value in settings.items()
        if key.lstrip("_") not in never and (key in known or _is_plain(value))
    }


def require_sizes(settings: Mapping[str, Any], weights: Sequence[Path], *, file: Path) -> None:
    """Refuse settings that describe a larger model than the weights can be of.

    Every layer stores a tensor, and no side of a tensor is longer than all stored numbers together.

    Args:
        settings: the content of `config.json`.
        weights: the safetensors files.
        file: path for messages.

    Raises:
        ModelError: when a size is larger, or a file of weights is damaged.
    """
    shapes = [shape for path in weights for shape in _shapes(path)]
    numbers = max(sum(map(math.prod, shapes)), _LEAST_LIMIT)
    for key, value in _all(settings):
        if isinstance(value, bool) or not isinstance(value, int):
            continue
        limit = len(shapes) if _LAYERS.search(key) else numbers
        if abs(value) > limit:
            raise ModelError(
                f"{file}: {key}: {value:,} is more than its weights can be of, which are "
                f"{len(shapes):,} tensors of {sum(map(math.prod, shapes)):,} numbers."
            )


def _all(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a document with the key under which it stands."""
    if key:
        yield key, value
    if isinstance(value, Mapping):
        for name, inside in value.items():
            yield from _all(inside, str(name))
    elif isinstance(value, list):
        for inside in value:
            yield from _all(inside, key)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return _WORD.fullmatch(value) is not None
    return value is None or isinstance(value, bool | int | float)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 0


def _shapes(path: Path) -> list[list[int]]:
    """Return the shapes in the header of a safetensors file."""
    try:
        with path.open("rb") as handle:
            size = int.from_bytes(handle.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = parsed_json(handle.read(size), encodable=True)
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        if not all(isinstance(shape, list) and all(map(_is_size, shape)) for shape in shapes):
            raise ValueError("a shape in its header is no list of sizes")
        return shapes
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: damaged ({str(error)[:100]}).") from error
