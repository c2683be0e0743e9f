"""`load_yaml` and `dump_text`: YAML without objects, without surprises, and of bounded size.

Aliases let a few lines stand for billions of values, or for a value inside itself. What a text
stands for is therefore counted before it is built.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

_MOST = 100_000
"""Values that a text may stand for; the longest configurations have a few hundred."""
_DEEPEST = 50
_HALF = re.compile("[\ud800-\udfff]")
"""A surrogate: an escape can name one, and nothing can write it again."""
_MERGE = "tag:yaml.org,2002:merge"


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, in which a key given twice is an error instead of a silent override."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                # Keys of a merged mapping are defaults, which the mapping's own keys replace.
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise _problem(key_node, f"a {type(key).__name__} as a key; expected text")
            if key in seen:
                raise _problem(key_node, f"key '{key}' is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """YAML's safe dumper, which puts into quotes what the loader above would not read as text."""


# YAML 1.1 requires a dot in a float and reads 1e-3 as text, which is never meant here.
for _kind in (_UniqueKeyLoader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+$"),
        list("-+0123456789"),
    )


def dump_text(value: Any) -> str:
    """Return a value as YAML that `load_yaml` reads back as the same value.

    Args:
        value: mappings in their order, lists, text, numbers, booleans and None.
    """
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def load_yaml(text: str) -> Any:
    """Return the value of a YAML text.

    Args:
        text: the YAML.

    Raises:
        yaml.YAMLError: when it is not YAML, gives a key twice, or stands for too many values, too
            deep ones, or a value inside itself.
        ValueError: when a number or a date cannot be read.
        RecursionError: when its brackets are nested too deeply.
    """
    loader = _UniqueKeyLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _size(node, {}, ())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, int], above: tuple[int, ...]) -> int:
    """Return how many values a node stands for, counting a shared node wherever it is named."""
    if id(node) in above:
        raise _problem(node, "a value that contains itself")
    if isinstance(node, yaml.ScalarNode) and _HALF.search(node.value):
        raise _problem(node, "half of a character, which no text can hold")
    if len(above) > _DEEPEST:
        raise _problem(node, f"more than {_DEEPEST} levels of nesting")
    if id(node) not in known:
        inside = (*above, id(node))
        total = 1
        for child in _children(node):
            total += _size(child, known, inside)
            if total > _MOST:
                raise _problem(node, f"more than {_MOST:,} values")
        known[id(node)] = total
    return known[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _problem(node: yaml.Node, text: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)
