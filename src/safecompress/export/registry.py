"""The formats a model can be exported in; each is registered where its class stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from safecompress.errors import ConfigError
from safecompress.export.format import Format
from safecompress.registry import Part, Registry

FORMATS: Registry[Format] = Registry("export format", "safecompress.formats", Format)
FormatRequest: TypeAlias = str | Mapping[str, Any] | Format
"""How a format is asked for: by name, as `{name: {option: value}}`, or as an object."""
ZSTD = ".zst"
_DEFAULT = ".safetensors"
"""The end of the name that a file of any other name is taken to have."""


def format_for(request: FormatRequest, path: Path) -> Format:
    """Return the format that is asked for, as a file of that name wants it.

    Args:
        request: a format, its name, or its name with options.
        path: the file to be written.

    Raises:
        ConfigError: on an unknown format or option, or a name that asks for zstd where nothing
            that reads the format unpacks it.
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
    """Return a format whose files' names end as this one's; a compact one for any other name.

    Args:
        path: a file that was exported.
    """
    name = path.name.lower()
    # Built-in formats come first, and published ones are loaded only for another name.
    found = _with_suffix(FORMATS.parts, name) or _with_suffix(FORMATS.all(), name)
    return FORMATS.build(found or _with_suffix(FORMATS.parts, _DEFAULT), where="format")


def _with_suffix(parts: Mapping[str, Part[Format]], name: str) -> str:
    """Return the first format whose files' names end so; empty where there is none."""
    return next((part.name for part in parts.values() if name.endswith(_suffixes(part))), "")


def _suffixes(part: Part[Format]) -> tuple[str, ...]:
    """Return the ends of file names that a format's class states; none of a factory function."""
    return tuple(getattr(part.factory, "suffixes", ()))
