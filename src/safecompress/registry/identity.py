"""`identity`, `qualified` and `require_distinct_names`: whether two parts are the same.

Parts (attacks, measures, proposals) may come from any package, and two of them may share a class
name, a `repr` or a display name. A result may be reused only for the very same part, so caches use
identities as keys, and names only appear in what people read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any, Protocol

from safecompress.errors import ConfigError


class Named(Protocol):
    """Anything with a display name."""

    @property
    def name(self) -> str:
        """The name that people read in tables and messages."""


class _Same:
    """Wraps one object and compares it by `is`, so that its class's `__eq__` has no say."""

    __slots__ = ("_object",)

    def __init__(self, value: object) -> None:
        # The reference keeps the object alive, so that no later object gets its id.
        self._object = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._object is other._object

    def __hash__(self) -> int:
        return id(self._object)


@dataclass(frozen=True)
class Identity:
    """A part's class and the values of its options, to compare and to use as a key."""

    _key: tuple[object, ...]


def identity(part: object) -> Identity:
    """Return a key of a part: its class object and everything that the instance holds.

    Two parts have the same identity when they are instances of one class object with equal options.
    Classes are compared as objects, so classes that share module and name (made in a loop, or typed
    twice into one session) differ. The class's own `__repr__`, `__eq__` and `__hash__` are never
    called. Options that are numbers, texts, paths, collections or frozen dataclasses are compared
    by type and value; any other object equals only itself, so that two attacks share a result only
    where that is certain to be right.

    Args:
        part: an attack, a measure or any other part.

    >>> from fractions import Fraction
    >>> identity(Fraction(1, 2)) == identity(Fraction(2, 4)), identity(1.0) == identity(True)
    (True, False)
    """
    # Instances of tuple, str and similar classes hold a value besides their attributes.
    plain = isinstance(part, str | bytes | int | float | complex | tuple | list | Set | Mapping)
    return Identity((_Same(type(part)), _state(part, ()), _frozen(part, ()) if plain else None))


def qualified(part: object) -> str:
    """Return a part as `module:Class(option=value, …)`, for messages and files.

    The text is the same in every process. Do not use it as a key: two classes of one module and
    name have the same text.

    Args:
        part: an attack, a measure or any other part.

    >>> from safecompress.stats import Interval
    >>> qualified(Interval(0.5, 0.4, 0.6))
    'safecompress.stats._proportions:Interval(value=0.5, low=0.4, high=0.6)'
    """
    return _qualified(part, ())


def require_distinct_names(parts: Iterable[Named], *, where: str, kind: str) -> None:
    """Refuse different parts of one display name, because results are shown by name.

    The same part given twice is accepted.

    Args:
        parts: the parts whose results are shown side by side.
        where: config path for the message, e.g. `verdict.checks`.
        kind: plural noun for the message, e.g. `attacks`.

    Raises:
        ConfigError: naming both parts.
    """
    first: dict[str, Named] = {}
    for part in parts:
        known = first.setdefault(str(part.name), part)
        if known is not part and identity(known) != identity(part):
            raise ConfigError(
                f"{where}: two {kind} are called '{part.name}', {qualified(known)} and "
                f"{qualified(part)}. Results are told apart by this name: keep one of the two; a "
                "class of your own can be given another `name`."
            )


def _attributes(part: object) -> dict[str, object]:
    """Return the attributes of an instance by name, without the values of cached properties."""
    # `object.__getstate__` includes slots and ignores overrides that a class has for pickling.
    state: Any = object.__getstate__(part)
    parts = state if type(state) is tuple else (state,)
    attributes = {name: value for some in parts if some for name, value in some.items()}
    cached = {
        name
        for kind in type(part).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, cached_property)
    }
    return {name: value for name, value in attributes.items() if name not in cached}


def _state(part: object, within: tuple[int, ...]) -> tuple[tuple[str, object], ...]:
    inner = (*within, id(part))
    return tuple((name, _frozen(value, inner)) for name, value in sorted(_attributes(part).items()))


def _frozen(value: object, within: tuple[int, ...]) -> object:
    """Return a hashable stand-in; two stand-ins are equal only where the values surely are."""
    kind = type(value)
    if _is_plain(kind):
        return kind, value
    if type(value) is float:
        # Unlike ==, the hexadecimal text distinguishes 0.0 from -0.0, and NaN equals NaN.
        return kind, value.hex()
    if isinstance(value, PurePath) and kind.__module__.startswith("pathlib"):
        return kind, str(value)
    return _Same(value) if id(value) in within else _frozen_inside(value, within)


def _frozen_inside(value: object, within: tuple[int, ...]) -> object:
    kind = type(value)
    inner = (*within, id(value))
    if type(value) is tuple or type(value) is list:
        return kind, tuple(_frozen(item, inner) for item in value)
    if type(value) is set or type(value) is frozenset:
        return kind, frozenset(_frozen(item, inner) for item in value)
    if type(value) is dict:
        # The order of the entries counts, because a part's result may depend on it.
        return kind, tuple((_frozen(k, inner), _frozen(v, inner)) for k, v in value.items())
    if is_dataclass(kind) and not isinstance(value, tuple | list | str | bytes | Set | Mapping):
        return _Same(kind), _state(value, within)
    return _Same(value)


def _is_plain(kind: type) -> bool:
    # Compared by `is`, because a metaclass may define an `__eq__` that is always true.
    return any(kind is plain for plain in (type(None), bool, int, str, bytes, complex))


def _class_of(part: object) -> str:
    return f"{type(part).__module__}:{type(part).__qualname__}"


def _qualified(part: object, within: tuple[int, ...]) -> str:
    inner = (*within, id(part))
    options = (f"{name}={_text(value, inner)}" for name, value in _attributes(part).items())
    return f"{_class_of(part)}({', '.join(options)})"


def _text(value: object, within: tuple[int, ...]) -> str:
    if type(value) is float or _is_plain(type(value)):
        return repr(value)
    if isinstance(value, PurePath):
        return repr(str(value))
    return "…" if id(value) in within else _text_inside(value, within)


def _text_inside(value: object, within: tuple[int, ...]) -> str:
    inner = (*within, id(value))
    if type(value) is tuple or type(value) is list:
        return f"[{', '.join(_text(item, inner) for item in value)}]"
    if type(value) is set or type(value) is frozenset:
        return f"{{{', '.join(sorted(_text(item, inner) for item in value))}}}"
    if type(value) is dict:
        pairs = (f"{_text(k, inner)}: {_text(v, inner)}" for k, v in value.items())
        return f"{{{', '.join(pairs)}}}"
    return _qualified(value, within) if is_dataclass(value) else _class_of(value)
