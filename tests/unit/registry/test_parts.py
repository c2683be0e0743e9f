"""Every built-in part is registered right below its class or factory, once."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any

import pytest

from safecompress.cli.kinds import KINDS
from safecompress.proposals import PROPOSALS
from safecompress.proposals.over_mask import OverMask
from safecompress.registry import Part

PARTS = [(kind, name) for kind, registry in KINDS.items() for name in registry.parts]
OVER_MASK = {
    "soft-labels": {},
    "student": {},
    "unpair": {"weight": 0.5},
    "quantize": {},
    "channels": {},
    "pattern": {"form": "2:4"},
}


def part_of(kind: str, name: str) -> Part[Any]:
    return KINDS[kind].parts[name]


@pytest.mark.parametrize(("kind", "name"), PARTS)
def test_a_part_is_added_right_below_its_class_or_factory(kind: str, name: str) -> None:
    factory = part_of(kind, name).factory
    body = ast.parse(inspect.getsource(sys.modules[factory.__module__])).body
    place = next(i for i, s in enumerate(body) if getattr(s, "name", "") == factory.__name__)
    # Private helpers of the class may stand between the two.
    below = next(s for s in body[place + 1 :] if not getattr(s, "name", "").startswith("_"))
    assert _adds(below) == (name, factory.__name__)


def _adds(statement: ast.stmt) -> tuple[str, str] | None:
    """Return name and factory where a statement adds a part."""
    match statement:
        case ast.Expr(
            ast.Call(ast.Attribute(_, "add"), [ast.Constant(str(name)), ast.Name(factory), *_])
        ):
            return name, factory
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_a_registry_has_its_own_group_and_kind(kind: str) -> None:
    registry = KINDS[kind]
    others = [r for name, r in KINDS.items() if name != kind]
    assert registry.group.startswith("safecompress.")
    assert registry.group not in {r.group for r in others}
    assert registry.kind not in {r.kind for r in others}
    assert registry.base is not object


def test_every_proposal_over_a_mask_is_known_here() -> None:
    takes_mask = {
        n for n, p in PROPOSALS.parts.items() if "mask" in inspect.signature(p.factory).parameters
    }
    assert takes_mask == set(OVER_MASK)


@pytest.mark.parametrize("inner", OVER_MASK)
@pytest.mark.parametrize("outer", OVER_MASK)
def test_a_proposal_takes_any_mask_but_those_it_refuses(outer: str, inner: str) -> None:
    mask = {inner: OVER_MASK[inner]}
    built = PROPOSALS.build({outer: OVER_MASK[outer]}, where="x")
    changed = PROPOSALS.build(mask, where="x")
    assert isinstance(built, OverMask)
    assert isinstance(changed, OverMask)
    if changed.changes in built.refuses:
        with pytest.raises(Exception, match="expected a change of the mask"):
            PROPOSALS.build({outer: OVER_MASK[outer] | {"mask": mask}}, where="x")
    else:
        PROPOSALS.build({outer: OVER_MASK[outer] | {"mask": mask}}, where="x")


def test_what_learns_from_teachers_is_not_put_on_itself() -> None:
    refused = {
        (outer, inner)
        for outer in OVER_MASK
        for inner in OVER_MASK
        if (
            PROPOSALS.build({inner: OVER_MASK[inner]}, where="x").changes
            in PROPOSALS.build({outer: OVER_MASK[outer]}, where="x").refuses
        )
    }
    assert refused == {
        ("soft-labels", "soft-labels"),
        ("student", "student"),
        ("student", "soft-labels"),
    }
