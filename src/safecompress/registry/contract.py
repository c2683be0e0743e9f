"""`broken`: what a part of any kind breaks of its contract, rule by rule, in words.

Each kind of part has a contract module with a function `violations(part, *, seed=0)`, which runs
that kind's rules through `broken`. The rules that every kind shares are here as well.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from safecompress.registry.identity import identity

P = TypeVar("P")

Rule: TypeAlias = Callable[[P, int], Iterator[str]]
"""A generator function of (part, seed): it yields a sentence for everything the part breaks."""

GLOBAL_DRAW = "it draws from a global random generator; use safecompress.randomness"


def broken(part: P, rules: Sequence[Rule[P]], *, seed: int) -> tuple[str, ...]:
    """Return what the rules find, in their order; empty when the part keeps to all of them.

    An exception ends its rule and is itself a finding, whatever its type: the parts are somebody
    else's, and one mistake must not hide the others.

    Args:
        part: what is examined.
        rules: what it must keep to.
        seed: handed to every rule; the same seed examines the part in the same way.

    >>> def is_short(word: str, seed: int) -> Iterator[str]:
    ...     if len(word) > 3:
    ...         yield f"'{word}' is long"
    >>> broken("sparse", [is_short], seed=0)
    ("'sparse' is long",)
    >>> broken(None, [is_short], seed=0)
    ("is short: raised TypeError: object of type 'NoneType' has no len()",)
    """
    found: list[str] = []
    for rule in rules:
        try:
            # One at a time, so that what was found before an exception is kept.
            for sentence in rule(part, seed):
                found.append(sentence)
        except Exception as error:
            title = getattr(rule, "__name__", str(rule)).strip("_").replace("_", " ")
            found.append(f"{title}: raised {type(error).__name__}: {error}")
    return tuple(found)


def holds_only_its_options(part: Any, seed: int) -> Iterator[str]:
    """Yield why a part is more than its class and options, by which results are kept.

    A part is a frozen dataclass; built again from the options in its fields, it is the same part.

    Args:
        part: an instance with options as fields.
        seed: not used.
    """
    del seed
    parameters = getattr(type(part), "__dataclass_params__", None)
    if not getattr(parameters, "frozen", False):
        yield "it is not a frozen dataclass, so its options can change after it was used"
        return
    options = {f.name: getattr(part, f.name) for f in dataclasses.fields(part) if f.init}
    if identity(type(part)(**options)) != identity(part):
        yield (
            "built again from its options it is another part: it holds something besides them; "
            "keep every option in a field, and nothing else"
        )


def has_a_name(part: Any, seed: int) -> Iterator[str]:
    """Yield a sentence unless the part's `name` is a text of one line.

    Args:
        part: an instance with a name.
        seed: not used.
    """
    del seed
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not name.strip() or "\n" in name:
        yield f"its name is {name!r}; expected a short text of one line"


def global_generators() -> tuple[object, ...]:
    """Return the state of the global generators of torch, NumPy and Python, to be compared."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    numpy_state = (kind, np.asarray(keys).tobytes(), *rest)
    return torch.get_rng_state().numpy().tobytes(), numpy_state, random.getstate()


@contextmanager
def other_global_generators() -> Iterator[None]:
    """Run a block with the global generators in another state; restore them afterwards.

    A part that reads one of them says something else inside the block.
    """
    kept = np.random.get_state(), random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(20_113)
        np.random.seed(20_113)
        random.seed(20_113)
        try:
            yield
        finally:
            np.random.set_state(kept[0])
            random.setstate(kept[1])
