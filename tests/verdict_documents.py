"""Generated verdict documents: strategies made from the fields' own types, and small subjects."""

from __future__ import annotations

import types
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from safecompress.checks import CheckResult, Status, Subject
from safecompress.protocols import Estimate, Evidence, Outputs, Pool
from safecompress.verdicts.part import Facts, Part

ANY_FLOAT = st.floats()
FINITE = st.floats(allow_nan=False, allow_infinity=False)
# Surrogates stand for bytes of a file's name that are no text.
TEXT = st.text(st.characters(exclude_categories=()), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | ANY_FLOAT | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
_FACTS = get_args(Facts)[0]


def parts(part: type[Part], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return instances of a part: any value of each field's type, NaN and infinities of figures."""
    fields = {name: _of_field(field) for name, field in part.model_fields.items()}
    return st.builds(part, **(fields | fixed))


def _of_field(field: FieldInfo) -> st.SearchStrategy[Any]:
    if field.annotation == _FACTS:
        return st.dictionaries(TEXT, JSON, max_size=3)
    # Figures alone take NaN and infinities, as their validator makes them null.
    return _of(field.annotation, floats=ANY_FLOAT if field.metadata else FINITE)


def _of(kind: Any, *, floats: st.SearchStrategy[float] = FINITE) -> st.SearchStrategy[Any]:
    origin, inner = get_origin(kind), get_args(kind)
    if kind is None or kind is type(None):
        return st.none()
    if origin is Annotated:
        return _of(inner[0], floats=ANY_FLOAT)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in {Union, types.UnionType}:
        return st.one_of([_of(one, floats=floats) for one in inner])
    if origin is tuple:
        return st.lists(_of(inner[0]), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(_of(inner[0]), _of(inner[1]), max_size=2)
    if issubclass(kind, Part):
        return parts(kind)
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    plain = {bool: st.booleans(), int: st.integers(0, 10**6), float: floats, str: TEXT}
    return plain[kind]


ESTIMATES = st.builds(
    Estimate, ANY_FLOAT, ANY_FLOAT, ANY_FLOAT, st.integers(0, 99), st.integers(0, 99)
)
CHECKS = st.builds(
    CheckResult,
    name=TEXT | TEXT.map("control: {}".format),
    status=st.sampled_from(Status),
    critical=st.booleans(),
    condition=TEXT,
    estimate=st.none() | ESTIMATES,
    seconds=st.floats(0, 1e6),
    message=TEXT,
)


def subject(name: str, *, seed: int, rows: int = 30) -> Subject:
    """Return a model's answers about random rows of three classes."""
    source = torch.Generator().manual_seed(seed)

    def evidence(first: int) -> Evidence:
        logits = torch.randn(rows, 3, generator=source)
        labels = torch.arange(rows) % 3
        return Evidence(Outputs(logits, labels, torch.arange(first, first + rows)))

    return Subject.of(Pool(evidence(0), evidence(rows)), name=name, density=0.5, seed=0)


def objects(value: Any) -> list[dict[str, Any]]:
    """Return every JSON object in a value."""
    if isinstance(value, Mapping):
        return [value, *(o for item in value.values() for o in objects(item))]
    return [o for item in value for o in objects(item)] if isinstance(value, list) else []
