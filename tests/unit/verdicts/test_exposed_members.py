"""Whom compression exposed: counted on the rows both models were attacked on, and by hand."""

from __future__ import annotations

import torch

from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.protocols import Evidence, Outputs, Pool
from safecompress.verdicts.exposed_members import (
    EXPOSED_FPR,
    most_exposed,
    newly_exposed,
    strongest_of,
)

ROWS = 400
LOSS = ATTACKS.build("loss", where="test")


def subject(raised: range, *, name: str, first: int = 0) -> Subject:
    """Return a model that gives away the members in `raised`, and no others."""
    draw = torch.Generator().manual_seed(0)
    groups = []
    for group in range(2):
        logits = torch.randn(ROWS, 3, generator=draw).clamp(-2, 2)
        labels = torch.zeros(ROWS, dtype=torch.long)
        if group == 0:
            logits[list(raised), 0] = 20.0
        groups.append(Outputs(logits, labels, torch.arange(ROWS) + first + group * ROWS))
    return Subject.of(Pool(*groups), name=name, density=None, seed=0)


def test_only_members_that_are_new_are_listed():
    small, dense = subject(range(10, 40), name="small"), subject(range(30), name="dense")
    (found,) = newly_exposed(small, dense, [LOSS])
    assert set(range(30, 40)) <= set(found.rows)
    assert not set(range(30)) & set(found.rows)
    assert found.members == ROWS
    assert found.rate == len(found.rows) / ROWS
    assert 10 / ROWS <= found.dense_only_rate <= 10 / ROWS + EXPOSED_FPR
    assert (found.attack, found.dense_attack) == ("loss", "loss")


def test_a_model_exposes_nobody_beyond_itself():
    one = subject(range(20), name="one")
    (found,) = newly_exposed(one, one, [LOSS])
    assert (found.rows, found.rate, found.dense_only_rate) == ((), 0.0, 0.0)


def test_rows_keep_their_names():
    small, dense = (subject(range(n), name=str(n), first=5000) for n in (30, 20))
    (found,) = newly_exposed(small, dense, [LOSS])
    assert set(found.rows) >= set(range(5020, 5030))
    members = most_exposed(strongest_of(small, [LOSS])).members
    assert {e.row for e in members} <= set(range(5000, 5030))


def test_who_holds_both_is_held_against_the_strongest_on_the_dense_model():
    small, dense = subject(range(30), name="small"), subject(range(20), name="dense")
    evidence = small.evidence.zip(dense.outputs, lambda e, o: Evidence(e.outputs, parent=o))
    small = Subject.of(evidence, name="small", density=None, seed=0)
    pair = ATTACKS.build("pair", where="test")
    found = newly_exposed(small, dense, [LOSS, pair])
    assert [(f.attack, f.dense_attack) for f in found] == [("loss", "loss"), ("pair", "loss")]
    # Who learns is judged on the half it has not learned from.
    assert found[1].members == int((~small.halves.members).sum())


def test_too_few_non_members_carry_no_rate():
    index = torch.arange(ROWS) < 99
    few = [
        Subject.of(
            Pool(s.outputs.members, s.outputs.nonmembers.take(index)),
            name=s.name,
            density=None,
            seed=0,
        )
        for s in (subject(range(30), name="small"), subject(range(20), name="dense"))
    ]
    assert newly_exposed(*few, [LOSS]) == ()
