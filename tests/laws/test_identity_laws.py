"""Laws of identity: a result belongs to the part that made it, whatever another part looks like."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safecompress.attacks import ATTACKS
from safecompress.attacks.transfer import QUERY_ATTACKS, query_saving
from safecompress.audit import audit
from safecompress.checks import (
    MEASURES,
    AttackMeasure,
    Check,
    Suite,
    TransferRate,
    at_most,
)
from safecompress.errors import ConfigError
from safecompress.protocols import Ball
from safecompress.registry.identity import identity, qualified, require_distinct_names
from tests.crafting import RowByRow, labeled
from tests.impostors import EqualToAll, disguises, fresh_subject, impostor, pool, publish, recorded
from tests.support import count

ALONE = [n for n in ATTACKS.parts if not ATTACKS.build(n, where="test").requires]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@dataclass(frozen=True)
class Holder:
    """A part with one option."""

    option: Any
    name: str = "holder"


@pytest.mark.parametrize("disguise", disguises())
@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("first", ["built-in", "impostor"])
def test_no_attack_is_given_another_one_s_result(name: str, disguise: str, first: str) -> None:
    options = {"neural-published": {"epochs": 1}}.get(name, {})
    real = ATTACKS.build({name: options}, where="test")
    false = impostor(real, **disguises()[disguise])
    subject = fresh_subject()
    subject.attacked_by(real if first == "built-in" else false)
    found = subject.attacked_by(false)
    assert torch.equal(found.scores.members, pool().members.ids.double())
    alone = fresh_subject().attacked_by(real)
    assert torch.equal(subject.attacked_by(real).scores.members, alone.scores.members)
    assert subject.attacked_by(false) is found


@given(one=PLAIN, other=PLAIN)
@settings(max_examples=count(100, 5000))
def test_parts_are_the_same_where_class_and_options_are(one: Any, other: Any) -> None:
    # For these values repr is exact: it tells 1, 1.0 and True apart, and 0.0 from -0.0.
    same = repr(one) == repr(other)
    assert (identity(Holder(one)) == identity(Holder(other))) is same
    assert identity(Holder(one)) == identity(Holder(copy.deepcopy(one)))
    assert hash(identity(Holder(one))) == hash(identity(Holder(copy.deepcopy(one))))
    assert (qualified(Holder(one)) == qualified(Holder(other))) or not same


def classes_made_in_a_loop() -> Iterator[type]:
    for _ in range(2):

        @dataclass(frozen=True)
        class Made:
            option: int = 1
            name: str = "made"

        yield Made


@pytest.mark.parametrize(
    "made",
    [
        lambda: [c() for c in classes_made_in_a_loop()],
        lambda: [EqualToAll("E", (), {"name": "e"})() for _ in range(2)],
        lambda: [Holder(object()) for _ in range(2)],
        lambda: [Holder(lambda: None) for _ in range(2)],
        lambda: [Holder(c) for c in classes_made_in_a_loop()],
        lambda: [Holder(c()) for c in classes_made_in_a_loop()],
        lambda: [Holder(EqualToAll("E", (), {})()) for _ in range(2)],
        lambda: [type("T", (tuple,), {"name": "t"})((n,)) for n in range(2)],
    ],
)
def test_what_may_differ_counts_as_different_and_is_refused_under_one_name(
    made: Callable[[], list[Any]],
) -> None:
    one, other = made()
    assert identity(one) != identity(other)
    assert identity(one) == identity(one)
    with pytest.raises(ConfigError, match="two parts are called") as error:
        require_distinct_names([one, one, other], where="here", kind="parts")
    assert str(error.value).count(type(one).__qualname__) >= 2


def test_an_option_that_changes_makes_another_part() -> None:
    held: list[Any] = [1]
    part = Holder(held)
    before = identity(part)
    held.append(held)
    assert identity(part) != before
    assert "…" in qualified(part)


def test_a_part_is_described_without_asking_it() -> None:
    class Loud(Holder):
        def __repr__(self) -> str:
            raise AssertionError("asked")

    assert qualified(Loud({"a": (1, None)})).endswith(
        "Loud(option={'a': [1, None]}, name='holder')"
    )


@pytest.mark.parametrize("disguise", disguises())
def test_an_audit_refuses_a_second_attack_of_a_name_and_names_both(
    disguise: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = recorded(tmp_path)
    false = impostor(ATTACKS.build("loss", where="test"), **disguises()[disguise])
    publish(monkeypatch, false)
    with pytest.raises(ConfigError, match="two attacks are called 'loss'") as error:
        audit(path, attacks=["impostor"])
    assert str(error.value).count("safecompress.attacks.metric:LossAttack") == 2


def test_the_class_name_of_an_attack_changes_nothing_in_an_audit(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, found = recorded(tmp_path), []
    for class_name in ("MarginAttack", "LossAttack"):
        false = impostor(
            ATTACKS.build("loss", where="test"),
            name="by-id",
            __qualname__=class_name,
            __repr__=lambda self: "LossAttack()",
        )
        publish(monkeypatch, false)
        document = audit(path, attacks=["impostor"]).verdict.document.to_json()
        kept = [{k: v for k, v in c.items() if k != "seconds"} for c in document["checks"]]
        found.append((document["verdict"], kept))
    assert found[0] == found[1]
    assert any(c["name"].startswith("by-id.auc") and c["value"] == 1.0 for c in found[0][1])


def test_a_suite_refuses_two_attacks_of_a_name_whatever_its_checks_are_called() -> None:
    built = [ATTACKS.build({"neural": {"hidden": h}}, where="test") for h in (8, 9)]
    checks = [Check(f"c{i}", AttackMeasure(a), at_most(0.6)) for i, a in enumerate(built)]
    with pytest.raises(ConfigError, match=r"hidden=8.* and .*hidden=9"):
        Suite(tuple(checks))
    Suite((checks[0], Check("again", AttackMeasure(copy.copy(built[0])), at_most(0.7))))


def test_a_transfer_check_is_not_given_another_one_s_points() -> None:
    real = MEASURES.build("transfer", where="test")
    kind = type(real)
    body = {"_attacked": lambda self, subject: "an impostor's", "__qualname__": kind.__qualname__}
    body |= {"__module__": kind.__module__, "__repr__": lambda self: repr(real)}
    body |= disguises()["equal to everything"]
    false = type(kind.__name__, (TransferRate,), body)()
    subject = fresh_subject()
    assert subject.once(real, lambda: "its own") == "its own"
    assert false.attacked(subject) == "an impostor's"
    assert subject.once(MEASURES.build("transfer", where="test"), lambda: "anew") == "its own"


@pytest.mark.parametrize("name", QUERY_ATTACKS.parts)
def test_query_attacks_of_one_name_are_refused(name: str) -> None:
    full, small = RowByRow(seed=0), RowByRow(seed=1)
    x, labels = labeled(full, 4)
    real = QUERY_ATTACKS.build(name, where="test")
    other = copy.copy(real)
    object.__setattr__(other, "loss", "cross-entropy")
    with pytest.raises(ConfigError, match=f"two attacks are called '{name}'"):
        query_saving(
            full,
            small,
            x,
            labels,
            ball=Ball("linf", 0.1),
            seed=0,
            attacks=[real, other],
            rows=torch.arange(4),
        )
