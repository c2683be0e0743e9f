"""What every model family must keep to, built in or published by somebody else.

>>> from safecompress.models import MODELS
>>> violations(MODELS.parts["mlp"].factory)
()
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from safecompress.errors import ModelError
from safecompress.models.adapt import call
from safecompress.models.build import check_model
from safecompress.protocols import Rows
from safecompress.randomness import generator, seeded
from safecompress.registry.contract import broken
from safecompress.topology import maskable_parameters

Family: TypeAlias = Callable[..., nn.Module]
"""Called with `input_shape=…, classes=…` and its options."""

_TOKENS = "token ids"
_MOST_TOKENS = 8
"""Ids are below; every vocabulary has more."""
_SHAPES: dict[str, tuple[int, ...]] = {
    "a table": (12,),
    _TOKENS: (12,),
    "a sequence": (16, 8),
    "images of 3 × 32 × 32": (3, 32, 32),
    "images of 1 × 28 × 28": (1, 28, 28),
    "images of 3 × 40 × 24": (3, 40, 24),
}
_CLASSES = (2, 7)
_CLOSE = 1e-4
"""How far a row's logits may be from those it has alone: products round differently by batch."""


def violations(family: Family, *, seed: int = 0) -> tuple[str, ...]:
    """Return what a model family breaks, in words; empty when it keeps to everything.

    Of tables, token ids, sequences and images it must take at least one kind, and refuse the others
    with a ModelError: by their shape, or, where the shape is the same, when it is called. Of each
    kind it takes, its models give a finite logit per class in either mode, also of a single row;
    follow the seed alone; come back from their state_dict; keep rows apart, and their inputs and
    buffers as they are, in evaluation mode; and have weights that can be masked, every one of which
    learns.

    Args:
        family: the class or function; options are bound beforehand (`functools.partial`). It is
            called about 20 times, so bind a small width.
        seed: of the weights and inputs.
    """
    rules = (
        _takes_something,
        _gives_a_logit_per_class,
        _follows_the_seed,
        _comes_back_from_its_state,
        _keeps_rows_apart,
        _learns_with_every_weight,
    )
    return broken(family, rules, seed=seed)


def _built(family: Family, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    with seeded(seed, "contract", "init"):
        return family(input_shape=shape, classes=classes)


def _taken(family: Family, seed: int) -> dict[str, tuple[int, ...]]:
    """Return the kinds of input that the family says it takes: those it does not refuse."""
    taken = {}
    for what, shape in _SHAPES.items():
        try:
            module = _built(family, shape, _CLASSES[-1], seed)
            if len(shape) == 1 and not _takes(module, what, seed):
                continue
        except ModelError:
            continue
        taken[what] = shape
    return taken


def _takes(module: Any, what: str, seed: int) -> bool:
    """Return whether a model takes rows that have one axis, whatever it makes of them.

    Whole numbers are asked of every model and suit few, so any error about them is a refusal.
    """
    try:
        with torch.no_grad(), seeded(seed, "contract", "taken"):
            call(copy.deepcopy(module), _inputs(what, 2, seed))
    except ModelError:
        return False
    except Exception:
        return what != _TOKENS
    return True


def _inputs(what: str, n: int, seed: int) -> Tensor:
    source, shape = generator(seed, "contract", "inputs"), _SHAPES[what]
    if what == _TOKENS:
        return torch.randint(1, _MOST_TOKENS, (n, *shape), generator=source)
    return torch.randn(n, *shape, generator=source)


def _takes_something(family: Family, seed: int) -> Iterator[str]:
    if not _taken(family, seed):
        yield f"it refuses everything there is to try: {', '.join(_SHAPES)}"
    for classes in (1, 0, -3):
        shape = next(iter(_taken(family, seed).values()), _SHAPES["a table"])
        try:
            _built(family, shape, classes, seed)
        except ModelError:
            continue
        yield f"it builds a classifier of {classes} classes; refuse that with a ModelError"
        return


def _gives_a_logit_per_class(family: Family, seed: int) -> Iterator[str]:
    for what, shape in _taken(family, seed).items():
        for classes in _CLASSES:
            module: Any = _built(family, shape, classes, seed)
            if not isinstance(module, nn.Module):
                yield f"of {what} it makes a {type(module).__name__}; expected a torch.nn.Module"
                return
            labels = torch.arange(2) % classes
            check_model(module, Rows(_inputs(what, 2, seed), labels, torch.arange(2)), classes)
            with torch.no_grad():
                one = call(module.eval(), _inputs(what, 1, seed))
            if tuple(one.shape) != (1, classes):
                yield f"of one row of {what} it gives {tuple(one.shape)}; expected (1, {classes})"


def _follows_the_seed(family: Family, seed: int) -> Iterator[str]:
    for what, shape in _taken(family, seed).items():
        first, again, other = (
            _built(family, shape, _CLASSES[-1], s).state_dict() for s in (seed, seed, seed + 1)
        )
        if not _same(first, again):
            yield f"of {what} the same seed gives different weights; initialize with torch's own"
        elif _same(first, other):
            yield f"of {what} another seed gives the same weights"


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


def _comes_back_from_its_state(family: Family, seed: int) -> Iterator[str]:
    for what, shape in _taken(family, seed).items():
        module = _built(family, shape, _CLASSES[-1], seed).train()
        inputs = _inputs(what, 4, seed)
        with torch.no_grad(), seeded(seed, "contract", "training"):
            # Statistics of batches belong to the state as well.
            call(module, inputs)
        other = _built(family, shape, _CLASSES[-1], seed + 1)
        other.load_state_dict(module.state_dict())
        with torch.no_grad():
            said, told = (call(m.eval(), inputs) for m in (module, other))
        if not torch.equal(said, told):
            yield f"of {what} a model that is given its state_dict says something else"


def _keeps_rows_apart(family: Family, seed: int) -> Iterator[str]:
    for what, shape in _taken(family, seed).items():
        module = _built(family, shape, _CLASSES[-1], seed).eval()
        inputs = _inputs(what, 5, seed)
        given = inputs.clone()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        with torch.no_grad():
            together = call(module, inputs)
            again = call(module, inputs)
            alone = torch.cat([call(module, inputs[i : i + 1]) for i in range(len(inputs))])
        if not torch.equal(inputs, given):
            yield f"of {what} it changes its inputs in place"
        if not _same(module.state_dict(), before):
            yield f"of {what} it changes its buffers in evaluation mode"
        if not torch.equal(together, again):
            yield f"of {what} it says something else the second time, in evaluation mode"
        elif not torch.allclose(together, alone, rtol=_CLOSE, atol=_CLOSE):
            yield f"of {what} a row's logits depend on the other rows, in evaluation mode"


def _learns_with_every_weight(family: Family, seed: int) -> Iterator[str]:
    for what, shape in _taken(family, seed).items():
        module = _built(family, shape, _CLASSES[-1], seed).train()
        if not maskable_parameters(module):
            yield f"of {what} it has no weight that can be masked (two dimensions or more)"
            continue
        with seeded(seed, "contract", "training"):
            logits = call(module, _inputs(what, 8, seed))
        labels = torch.arange(len(logits)) % _CLASSES[-1]
        cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        idle = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
        if idle:
            yield f"of {what} no gradient reaches {', '.join(idle)}"
