"""`Option`, `options_of` and `text_of`: what a part takes and does, read off its factory.

Options are the factory's arguments: types and defaults stand in its signature, descriptions in the
section `Args` of its docstring or of a base class's, or in the fields of a section of a
configuration, and nowhere else.
"""

from __future__ import annotations

import inspect
import re
from abc import ABC
from collections.abc import Callable, Collection, Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_ENTRY = re.compile(r"(\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \([^)]*\))?: *(.*)")
_HEADING = re.compile(r"(Args|Raises|Returns|Yields):")


@dataclass(frozen=True)
class Option:
    """One option of a part.

    Args:
        name: what a configuration calls it.
        type: its type as Python writes it, e.g. `float | None`; empty without an annotation.
        default: its value where none is given; None where `required`.
        required: whether it must be given.
        description: its entry in the docstring's section `Args`; empty without one.
    """

    name: str
    type: str
    default: Any
    required: bool
    description: str


def options_of(factory: Callable[..., Any], *, given: Collection[str] = ()) -> tuple[Option, ...]:
    """Return the options of a part, in the order of its signature.

    Args:
        factory: its class or function.
        given: arguments that are not options, because the run passes them itself.
    """
    try:
        parameters = inspect.signature(factory).parameters
    except Exception:
        # Some callables, such as those written in C, have no signature.
        return ()
    hints, descriptions = _hints(factory), _descriptions(factory)
    return tuple(
        Option(
            name,
            _type_text(hints.get(name, parameter.annotation))
            or _type_of_default(parameter.default),
            None if parameter.default is inspect.Parameter.empty else _default(factory, parameter),
            parameter.default is inspect.Parameter.empty,
            descriptions.get(name, ""),
        )
        for name, parameter in parameters.items()
        if name not in given
        and parameter.kind
        in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    )


def text_of(factory: Callable[..., Any]) -> str:
    """Return a factory's docstring without its section `Args`; empty where there is none.

    Args:
        factory: the class or function that makes a part.
    """
    lines, kept, in_args = _doc(factory).splitlines(), [], False
    for line in lines:
        if in_args and line.strip() and not line.startswith(" "):
            in_args = False
        in_args = in_args or line.strip() == "Args:"
        if not in_args:
            kept.append(line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()


def own_doc(factory: Any) -> str:
    """Return a factory's docstring, empty where nobody wrote one.

    A class may inherit it from another part, but not from the interface of all parts, which tells
    authors what to write; and what `dataclass` puts there by itself is the signature again.

    Args:
        factory: a class or function.
    """
    if not isinstance(factory, type):
        return inspect.getdoc(factory) or ""
    for one in factory.__mro__:
        doc = vars(one).get("__doc__")
        if one.__bases__ == (ABC,) or one is object:
            return ""
        if doc and not (is_dataclass(one) and doc.startswith(f"{one.__name__}(")):
            return inspect.cleandoc(doc)
    return ""


def _doc(factory: Any) -> str:
    try:
        return own_doc(factory)
    except Exception:  # `__doc__` of another package's class may be a property that raises
        return ""


def _written(one: Any) -> str:
    """Return the docstring of a class itself, also of an interface, whose options count as well."""
    if not isinstance(one, type):
        return _doc(one)
    try:
        return inspect.cleandoc(vars(one).get("__doc__") or "")
    except Exception:  # `__doc__` of another package's class may be a property that raises
        return ""


def _default(factory: Any, parameter: inspect.Parameter) -> Any:
    """Return an argument's default; the result of `default_factory` where a field has one."""
    if is_dataclass(factory):
        field = next((f for f in fields(factory) if f.name == parameter.name), None)
        if field is not None and field.default_factory is not MISSING:
            return field.default_factory()
    # In the signature of a section of a configuration such a default is an unreadable mark.
    section = getattr(factory, "model_fields", {}).get(parameter.name)
    if section is not None:
        return section.get_default(call_default_factory=True)
    return parameter.default


def _hints(factory: Any) -> dict[str, Any]:
    """Return the types of the arguments, without those that cannot be resolved."""
    is_dataclass_type = isinstance(factory, type) and is_dataclass(factory)
    plain_class = isinstance(factory, type) and not is_dataclass_type
    try:
        return get_type_hints(vars(factory).get("__init__", factory) if plain_class else factory)
    except Exception:  # an annotation names what is imported under TYPE_CHECKING alone
        return {}


def _descriptions(factory: Any) -> dict[str, str]:
    """Return the description of each argument; a class's own docstring goes before its bases'."""
    descriptions: dict[str, str] = {}
    for source in factory.__mro__ if isinstance(factory, type) else (factory,):
        if source.__module__ == "builtins":
            continue
        for names, text in _entries(_written(source)):
            for name in names.split(","):
                descriptions.setdefault(name.strip().lstrip("*"), text)
    # A section of a configuration describes its options in its fields.
    for name, model_field in getattr(factory, "model_fields", {}).items():
        descriptions.setdefault(name, getattr(model_field, "description", None) or "")
    return descriptions


def _entries(doc: str) -> Iterator[tuple[str, str]]:
    """Yield names and text of each entry of the section `Args`."""
    names, in_args, depth = "", False, 0
    text: list[str] = []
    for line in [*doc.splitlines(), "Args:"]:
        indent = len(line) - len(line.lstrip())
        if names and line.strip() and indent <= depth:
            yield names, " ".join(text)
            names = ""
        if _HEADING.fullmatch(line.strip()):
            in_args = line.strip() == "Args:"
        elif in_args and not names and (entry := _ENTRY.fullmatch(line.strip())) and indent:
            names, text, depth = entry[1], [entry[2]] if entry[2] else [], indent
        elif names and line.strip():
            text.append(line.strip())


def _type_of_default(default: Any) -> str:
    """Return the type of a default where no annotation says one, and the default does."""
    plain = type(default) in (bool, int, float, str)
    return type(default).__name__ if plain else ""


def _type_text(hint: Any) -> str:
    if hint is inspect.Parameter.empty or isinstance(hint, str):
        return hint if isinstance(hint, str) else ""
    if hint is NoneType:
        return "None"
    if get_origin(hint) is Literal:
        return " | ".join(repr(value) for value in get_args(hint))
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(_type_text, get_args(hint)))
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", str(hint))
