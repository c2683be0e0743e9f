"""`FORMATS`: the registry of export formats, and how a format is chosen for a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from safecompress.errors import ConfigError
from safecompress.export.format import Format
from safecompress.registry import Part, Registry

FORMATS: Registry[Format] = Registry("export format", "safecompress.formats", Format)
FormatRequest: TypeAlias = str | Mapping[str, Any] | Format
"""How a caller names a format: by name, as `{name: {option: value}}`, or as an object."""
ZSTD = ".zst"
_DEFAULT = ".safetensors"
"""A file whose ending belongs to no format is read like one with this ending."""


def format_for(request: FormatRequest, path: Path) -> Format:
    """Return the requested format, with the options that the file name implies.

    Args:
        request: a format, its name, or its name with options.
        path: the file that will be written; the ending `.zst` implies packing with zstd.

    Raises:
        ConfigError: on an unknown format or option, or on the ending `.zst` for a format whose
            readers do not unpack zstd.
    """
    form = request if isinstance(request, Format) else FORMATS.build(request, where="format")
    if path.suffix.lower() == ZSTD and ZSTD not in form.suffixes:
        packed = [name for name, part in FORMATS.all().items() if ZSTD in _suffixes(part)]
        raise ConfigError(
            f"{path}: nothing that reads {form.name} reads {ZSTD}; pack the file for its way, or "
            f"choose one of {', '.join(packed)}."
        )
    return form.for_file(path)


def format_of_file(path: Path) -> Format:
    """Return the format that a file's ending belongs to; a compact format for other endings.

    Args:
        path: an exported file; it is not opened.
    """
    name = path.name.lower()
    # Built-in formats come first, and published ones are loaded only for another name.
    known = _with_suffix(FORMATS.parts, name) or _with_suffix(FORMATS.all(), name)
    return FORMATS.build(known or _with_suffix(FORMATS.parts, _DEFAULT), where="format")


def _with_suffix(parts: Mapping[str, Part[Format]], name: str) -> str:
    """Return the name of the first format with the ending of a file name; empty if none has it."""
    return next((part.name for part in parts.values() if name.endswith(_suffixes(part))), "")


def _suffixes(part: Part[Format]) -> tuple[str, ...]:
    """Return the file endings that a format's class states; a factory function states none."""
    return tuple(getattr(part.factory, "suffixes", ()))
