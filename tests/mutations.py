"""Texts and documents that are changed at random: their bytes, their words, what they hold."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import yaml

NAMED = "planted_code:make"
"""A name that would run code if anybody imported it; the fuzzer plants a module of that name."""
NUMBERS = (
    *(0, -1, 1, 2, 3, 7, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**62, 2**63, 2**64),
    *(10**9, 10**12, 10**30, -(2**31), -(2**63), 0.5, -0.0, 1e-320, 1e308, 1e309, 0.1, 1.5),
)
WORDS = (
    *("", " ", "\x00", "\n", "../../etc/passwd", "/dev/zero", "/proc/self/mem", "a" * 3000, NAMED),
    *(
        "nan",
        "NaN",
        "Infinity",
        "null",
        "true",
        "💥",
        "\u202e",
        "\ud800",
        "ß" * 200,
        "=1+1",
        "${HOME}",
    ),
    *(
        "<script>alert(1)</script>",
        "os:system",
        "builtins:exec",
        "__class__",
        "%s%n",
        "{0.__class__}",
    ),
)
YAML_WORDS = (
    *(
        f"!!python/object/apply:{NAMED.replace(':', '.')} []",
        "&a [*a]",
        "*a",
        "<<: *a",
        "!!binary aa",
    ),
    *(
        "? [1, 2]",
        "%YAML 9.9",
        "---",
        "...",
        "\t",
        "- - - -",
        "{",
        "[",
        "'",
        '"',
        "|",
        ">",
        "!!set",
        "${X}",
    ),
    *("1_000", "0x1F", "1:30", "2001-01-01", "~", ".inf", ".nan", "1e400", "&b " + "[" * 60),
)
"""What YAML alone knows: tags, anchors, merge keys, other documents, numbers in other forms."""


def bytes_mutated(data: bytes, draw: random.Random) -> bytes:
    """Flip, overwrite, cut out, repeat or insert bytes."""
    place = draw.randrange(len(data) + 1)
    size = min(draw.choice([1, 1, 2, 4, 8, 64, 1000]), len(data))
    what = draw.randrange(8)
    if what == 0 and data:
        place %= len(data)
        return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]
    if what == 1:
        return data[:place] + draw.randbytes(size) + data[place + size :]
    if what == 2:
        return data[:place]
    if what == 3:
        return data[:place] + data[place + size :]
    if what == 4:
        return data[:place] + data[place : place + size] * draw.choice([2, 3, 50]) + data[place:]
    if what == 5:
        number = draw.choice([n for n in NUMBERS if isinstance(n, int) and -(2**63) <= n < 2**64])
        packed = (number % 2**64).to_bytes(8, "little")[: draw.choice([1, 2, 4, 8])]
        return data[:place] + packed + data[place + len(packed) :]
    if what == 6:
        start = draw.randrange(len(data) + 1)
        return data[:place] + data[start : start + size] + data[place + size :]
    return data[:place] + draw.choice(WORDS).encode("utf-8", "surrogatepass") + data[place:]


def text_mutator(words: tuple[str, ...]) -> Callable[[bytes, random.Random], bytes]:
    """Return a function that changes a text, and knows some words.

    Args:
        words: what it inserts.
    """

    def changed(data: bytes, draw: random.Random) -> bytes:
        """Repeat, drop, exchange or insert words and lines."""
        lines = data.decode("utf-8", "surrogateescape").split("\n")
        at, other = draw.randrange(len(lines)), draw.randrange(len(lines))
        what = draw.randrange(5)
        if what == 0:
            lines[at : at + 1] = [lines[at]] * draw.choice([0, 2, 100])
        elif what == 1:
            lines[at], lines[other] = lines[other], lines[at]
        else:
            place = draw.randrange(len(lines[at]) + 1)
            word = draw.choice([*words, str(draw.choice(NUMBERS))])
            rest = lines[at][place:] if what < 4 else ""
            lines[at] = lines[at][:place] + word + rest
        return "\n".join(lines).encode("utf-8", "surrogateescape")

    return changed


_DEEP = "@deep@"


def tree_mutated(tree: Any, draw: random.Random) -> Any:
    """Return a document of dictionaries and lists with one change somewhere.

    Args:
        tree: what JSON can hold; it is changed.
        draw: of all that is random.
    """
    places: list[tuple[Any, Any]] = []
    todo = [tree]
    while todo:
        at = todo.pop()
        keys = at.keys() if isinstance(at, dict) else range(len(at)) if isinstance(at, list) else ()
        places.extend((at, key) for key in keys)
        todo.extend(at[key] for key in keys)
    if not places:
        return draw.choice([None, [], {}, 0, "a"])
    at, key = draw.choice(places)
    what, value = draw.randrange(10), at[key]
    if what == 0:
        del at[key]
    elif what == 1 and isinstance(at, dict):
        at[draw.choice([*WORDS, str(key) + "s", "auto_map"])] = value
    elif what == 2 and isinstance(at, list):
        at[:] = at * draw.choice([2, 300])
    elif what == 3:
        other, name = draw.choice(places)
        at[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
    elif what == 4:
        at[key] = draw.choice([None, True, False, [], {}, [[]], {"a": {}}, [None] * 3, _DEEP])
    elif what in {5, 6} or isinstance(value, int | float):
        at[key] = draw.choice(NUMBERS)
    elif what == 7:
        at[key] = [value]
    else:
        at[key] = draw.choice(WORDS)
    return tree


def _keys(at: Any) -> Any:
    return at if isinstance(at, dict) else range(len(at))


def dumped(tree: Any, draw: random.Random) -> str:
    """Return a document as JSON, deep where `tree_mutated` wanted it so."""
    deep = draw.choice([100, 900, 5000, 100_000])
    inner = draw.choice(["[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "9" * 5000])
    return json.dumps(tree).replace(f'"{_DEEP}"', inner)


def json_mutated(data: bytes, draw: random.Random) -> bytes:
    """Change something of a JSON document."""
    return dumped(tree_mutated(json.loads(data), draw), draw).encode("utf-8", "surrogatepass")


def jsonl_mutated(data: bytes, draw: random.Random) -> bytes:
    """Change something of one of its documents."""
    lines = data.split(b"\n")
    at = draw.randrange(len(lines))
    lines[at] = json_mutated(lines[at], draw)
    return b"\n".join(lines)


def yaml_mutated(data: bytes, draw: random.Random) -> bytes:
    """Change something of a YAML document, or of its text."""
    if draw.random() < 0.4:
        return text_mutator(YAML_WORDS)(data, draw)
    changed = tree_mutated(yaml.safe_load(data.decode()), draw)
    return yaml.safe_dump(changed).replace(_DEEP, "[" * 3000 + "]" * 3000).encode()
