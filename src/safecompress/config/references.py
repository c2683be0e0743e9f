"""`expanded`, `as_written`: environment variables that stand in settings as `${NAME}`.

A folder holds the names, never the values: a path with a token in it, or a user's home, would else
stand in every report that is passed on. `$${` is a `${` that names no variable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from safecompress.errors import ConfigError

_VARIABLE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
Place: TypeAlias = tuple[str | int, ...]
"""Keys and positions that lead to a value."""


@dataclass(frozen=True)
class Reference:
    """A text of the settings that names variables.

    Args:
        place: where it stands.
        text: as it was written.
        expanded: with the values in place of the names.
    """

    place: Place
    text: str
    expanded: str


@dataclass(frozen=True, eq=False)
class References:
    """What a configuration was written with.

    Two configurations with equal values are equal, however these were written; so any two of these
    are.

    Args:
        found: the texts that name variables.
        values: what stood in their places in the checked configuration.
    """

    found: tuple[Reference, ...] = ()
    values: tuple[Any, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, References)

    def __hash__(self) -> int:
        return 0

    @classmethod
    def of(cls, found: list[Reference], document: Mapping[str, Any]) -> References:
        """Return the references of a configuration.

        Args:
            found: the texts that `expanded` found.
            document: the checked configuration as JSON, before anything else changes it.
        """
        return cls(tuple(found), tuple(_at(document, reference.place) for reference in found))


def expanded(
    settings: Any, *, unset_in: Collection[str] = (), place: Place = ()
) -> tuple[Any, list[Reference]]:
    """Return settings with the values of variables in place of their names, and what named them.

    Args:
        settings: nested settings.
        unset_in: top-level keys under which a name that is not set stays as it is.
        place: where the settings stand in larger ones.

    Raises:
        ConfigError: when a variable is not set.
    """
    if isinstance(settings, str):
        text = _text(settings, place, keep=bool(place) and place[0] in unset_in)
        named = any(match[1] for match in _VARIABLE.finditer(settings))
        return text, [Reference(place, settings, text)] if named else []
    found: list[Reference] = []

    def inside(key: str | int, value: Any) -> Any:
        text, more = expanded(value, unset_in=unset_in, place=(*place, key))
        found.extend(more)
        return text

    if isinstance(settings, Mapping):
        return {key: inside(key, value) for key, value in settings.items()}, found
    if isinstance(settings, list):
        return [inside(i, value) for i, value in enumerate(settings)], found
    return settings, []


def as_written(document: Any, references: References) -> Any:
    """Return a checked configuration as a file holds it: with names in place of values.

    Args:
        document: the configuration as JSON.
        references: what it was written with. One whose value was changed since is left out.
    """
    written = _escaped(document)
    for reference, value in zip(references.found, references.values, strict=True):
        if value is not None and _at(document, reference.place) == value:
            _put(written, reference.place, _template(reference, value))
    return written


def _text(text: str, place: Place, *, keep: bool) -> str:
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in place)

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name is None:
            return "${"
        if name not in os.environ:
            if keep:
                return match[0]
            raise ConfigError(
                f"{where.removeprefix('.')}: '{text}' names the environment variable {name}, which "
                f"is not set; set it, for example: export {name}=/path/to/data"
            )
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def _template(reference: Reference, value: Any) -> str:
    """Return the text of a reference; relative paths begin at the folder where they were read."""
    given = Path(reference.expanded)
    if isinstance(value, str) and Path(value).is_absolute() and not given.is_absolute():
        head, separator, rest = reference.text.partition("/")
        if reference.text.startswith("~"):
            return f"{_escaped(str(Path(head).expanduser()))}{separator}{rest}"
        return f"{_escaped(str(Path.cwd()))}/{reference.text}"
    return reference.text


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {k: _escaped(v) for k, v in value.items()}
    return [_escaped(v) for v in value] if isinstance(value, list | tuple) else value


def _at(document: Any, place: Place) -> Any:
    """Return the value at a place; None where there is no such place."""
    for key in place:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return None
    return document


def _put(document: Any, place: Place, value: str) -> None:
    *way, last = place
    _at(document, tuple(way))[last] = value
