"""The formats a model can be exported in; each is registered where its class stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from safecompress.errors import ConfigError
from safecompress.export.format import Format
from safecompress.registry import Registry

FORMATS: Registry[Format] = Registry("export format", "safecompress.formats")
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
        packed = [name for name in FORMATS.all() if ZSTD in _suffixes(name)]
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
    # Built-in formats first: no look at what is installed is needed for theirs.
    for known in (FORMATS.parts, FORMATS.all()):
        for part in known:
            if name.endswith(_suffixes(part)):
                return FORMATS.build(part, where="format")
    return next(
        FORMATS.build(part, where="format") for part in FORMATS.parts if _DEFAULT in _suffixes(part)
    )


def _suffixes(name: str) -> tuple[str, ...]:
    """Return the ends of file names that a format's class states; none of a factory function."""
    known = FORMATS.parts if name in FORMATS.parts else FORMATS.all()
    return tuple(getattr(known[name].factory, "suffixes", ()))
