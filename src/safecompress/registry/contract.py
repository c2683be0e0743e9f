"""`broken` and the shared rules: which rules of its contract a part breaks, in words.

Each kind of part has a contract module with a function `violations(part, *, seed=0)`, which checks
that kind's rules by `broken`. The rules that all kinds share are defined here.
"""

from __future__ import annotations

import dataclasses
import random
import traceback
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch

from safecompress.errors import FOREIGN, PartError
from safecompress.registry.identity import identity

P = TypeVar("P")

Rule: TypeAlias = Callable[[P, int], Iterator[str]]
"""A generator function of (part, seed): it yields a sentence for everything the part breaks."""

GLOBAL_DRAW = "it draws from a global random generator; use safecompress.randomness"


def broken(part: P, rules: Sequence[Rule[P]], *, seed: int) -> tuple[str, ...]:
    """Return a sentence for each broken rule, in the order of the rules; empty if there is none.

    An exception of any type ends its rule and is reported as a finding, with the line of the part
    that it came from: parts come from other packages, and one mistake must not hide the others.

    Args:
        part: the part to examine.
        rules: the rules that it must keep.
        seed: passed to every rule; equal seeds examine the part in the same way.

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
            # Appending one at a time keeps the sentences that came before an exception.
            for sentence in rule(part, seed):
                found.append(sentence)
        except FOREIGN as error:
            # What users are told of a part's exception says less than the exception.
            cause = error.__cause__ if isinstance(error, PartError) else None
            raised = error if cause is None else cause
            title = getattr(rule, "__name__", str(rule)).strip("_").replace("_", " ")
            where = f" ({place})" if (place := _place(part, raised)) else ""
            found.append(f"{title}: raised {type(raised).__name__}: {raised}{where}")
    return tuple(found)


def _place(part: object, error: BaseException) -> str:
    """Return the last line of the part's own module that an exception came through, if any."""
    module = getattr(part if isinstance(part, type) else type(part), "__module__", None)
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") == module:
            code = frame.f_code
            place = f"{Path(code.co_filename).name}:{line}, in {code.co_name}"
    return place


def holds_only_its_options(part: Any, seed: int) -> Iterator[str]:
    """Yield a sentence if a part's class and options do not determine it.

    Results are cached by class and options. So a part must be a frozen dataclass that has the same
    identity when it is built again from the options in its fields.

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


def unknown_needs(part: Any, known: Set[str]) -> Iterator[str]:
    """Yield what a part requires that nothing provides.

    Args:
        part: an instance with `requires`.
        known: names of everything that a part of its kind may require.
    """
    required: object = part.requires
    if not isinstance(required, frozenset):
        yield f"requires is {required!r}; expected a frozenset of names"
    elif unknown := sorted(set(required) - known):
        yield f"it requires {', '.join(unknown)}; known are {', '.join(sorted(known))}"


def has_a_name(part: Any, seed: int) -> Iterator[str]:
    """Yield a sentence unless the part's `name` is a non-empty text of one line.

    Args:
        part: an instance with a name.
        seed: not used.
    """
    del seed
    name = getattr(part, "name", None)
    if not isinstance(name, str) or not name.strip() or "\n" in name:
        yield f"its name is {name!r}; expected a short text of one line"


def global_generators() -> tuple[object, ...]:
    """Return the state of the global generators of torch, NumPy and Python, for comparison."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    numpy_state = (kind, np.asarray(keys).tobytes(), *rest)
    return torch.get_rng_state().numpy().tobytes(), numpy_state, random.getstate()


@contextmanager
def other_global_generators() -> Iterator[None]:
    """Run a block with the global generators in another state; restore them afterwards.

    A part that draws from one of them returns something else inside the block.
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
