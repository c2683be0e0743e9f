"""`identity`, `qualified` and `require_distinct_names`: what a part is, whatever it calls itself.

Parts (attacks, measures, proposals) come from anybody's package, and two of them may share a class
name, a `repr` or a display name. A result may be kept and handed out again only for the very same
part, so keys are identities, and names are for people.
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
        """What people call it."""


class _Same:
    """One object, equal to nothing but itself, whatever its class says about equality."""

    __slots__ = ("_object",)

    def __init__(self, value: object) -> None:
        # Holding the object keeps its id from being given to another one.
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
    """Return what makes a part this one: its class object and everything its instance holds.

    Two parts have one identity when they are instances of one class object with equal options. The
    class counts as an object, so classes that share module and name (made in a loop, or typed twice
    into one session) differ. Nothing that the class defines is asked: neither `__repr__`, nor
    `__eq__`, nor `__hash__`. Options that are numbers, texts, paths, collections or frozen
    dataclasses count by type and value; any other object counts as itself alone, so that two
    attacks share a result only where that is certain to be right.

    Args:
        part: an attack, a measure or any other part.

    >>> from fractions import Fraction
    >>> identity(Fraction(1, 2)) == identity(Fraction(2, 4)), identity(1.0) == identity(True)
    (True, False)
    """
    # Instances of tuple, str and the like hold a value besides their attributes.
    plain = isinstance(part, str | bytes | int | float | complex | tuple | list | Set | Mapping)
    return Identity((_Same(type(part)), _state(part, ()), _frozen(part, ()) if plain else None))


def qualified(part: object) -> str:
    """Return a part as `module:Class(option=value, …)`, for messages and files.

    The text is the same in every process. It is no key: classes of one module and name share it.

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
        parts: what is shown side by side.
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


def _held(part: object) -> dict[str, object]:
    """Return all that an instance holds, by name, without what its class merely remembers."""
    # The default state, slots included, also where the class overrides how it is pickled.
    state: Any = object.__getstate__(part)
    parts = state if type(state) is tuple else (state,)
    held = {name: value for some in parts if some for name, value in some.items()}
    remembered = {
        name
        for kind in type(part).__mro__
        for name, value in vars(kind).items()
        if isinstance(value, cached_property)
    }
    return {name: value for name, value in held.items() if name not in remembered}


def _state(part: object, within: tuple[int, ...]) -> tuple[tuple[str, object], ...]:
    inner = (*within, id(part))
    return tuple((name, _frozen(value, inner)) for name, value in sorted(_held(part).items()))


def _frozen(value: object, within: tuple[int, ...]) -> object:
    """Return a hashable stand-in, equal for two values only where they are surely the same."""
    kind = type(value)
    if _is_plain(kind):
        return kind, value
    if type(value) is float:
        # Unlike ==, this tells 0.0 from -0.0 and knows that NaN is NaN.
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
        # In their order: what a part does with its options may depend on it.
        return kind, tuple((_frozen(k, inner), _frozen(v, inner)) for k, v in value.items())
    if is_dataclass(kind) and not isinstance(value, tuple | list | str | bytes | Set | Mapping):
        return _Same(kind), _state(value, within)
    return _Same(value)


def _is_plain(kind: type) -> bool:
    # By `is`: a class can be equal to everything, too.
    return any(kind is one for one in (type(None), bool, int, str, bytes, complex))


def _class_of(part: object) -> str:
    return f"{type(part).__module__}:{type(part).__qualname__}"


def _qualified(part: object, within: tuple[int, ...]) -> str:
    inner = (*within, id(part))
    options = (f"{name}={_text(value, inner)}" for name, value in _held(part).items())
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
