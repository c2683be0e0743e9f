"""Models of a cohort as each other's shadow models."""

from __future__ import annotations

import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.cohorts.plan import deal
from safecompress.cohorts.rotation import carried_rate, matched
from safecompress.errors import UndecidableError
from safecompress.protocols import Evidence, Outputs, Pool, References
from safecompress.randomness import generator
from safecompress.stats import auc

ROWS = 1_000


def others_of(models: int, members: float, *, seed: int, leak: float = 0.0):
    """Return what a cohort's other models say of every row, what target 0 says, and what it saw."""
    inputs = torch.arange(ROWS, dtype=torch.float32).unsqueeze(1)
    seen = deal(inputs, members=int(members * ROWS), count=models, seed=seed)
    source = generator(seed, "said")
    hard = 2 * torch.randn(ROWS, generator=source, dtype=torch.float64)
    said = torch.randn(models, ROWS, generator=source, dtype=torch.float64) + hard + leak * seen
    return References(said[1:], seen[1:]), said[0], seen[0]


@pytest.mark.parametrize(("models", "members"), [(5, 0.5), (6, 0.5), (9, 0.38), (20, 0.5)])
def test_as_many_models_of_a_kind_are_left_whatever_the_target_saw(models, members):
    others, _, saw = others_of(models, members, seed=0)
    left = matched(others, saw, seed=0)
    assert left.seen.shape == (models - 2, ROWS)
    everyone = others.seen.sum(dim=0) + saw
    assert torch.equal(left.seen.sum(dim=0), everyone - 1)
    # Of every row the others are who they were, but for one.
    for row in range(0, ROWS, 97):
        before, after = others.log_odds[:, row].tolist(), left.log_odds[:, row].tolist()
        assert len(set(before) - set(after)) == 1
        assert set(after) <= set(before)


def test_what_is_left_out_depends_on_the_seed_alone():
    others, _, saw = others_of(8, 0.5, seed=0)
    first, again = matched(others, saw, seed=1), matched(others, saw, seed=1)
    assert torch.equal(first.log_odds, again.log_odds)
    assert not torch.equal(first.log_odds, matched(others, saw, seed=2).log_odds)


def test_a_row_without_a_model_to_leave_out_is_refused():
    others = References(torch.zeros(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(UndecidableError, match="3 of 3 rows"):
        matched(others, torch.ones(3, dtype=torch.bool), seed=0)


def attacked(name: str, models: int, *, seed: int, leak: float) -> float:
    others, said, saw = others_of(models, 0.5, seed=seed, leak=leak)
    references = matched(others, saw, seed=seed)
    logits = torch.stack([said, torch.zeros_like(said)], dim=1).float()

    def held(mask: torch.Tensor) -> Evidence:
        place = mask.nonzero().squeeze(1)
        outputs = Outputs(logits[place], torch.zeros_like(place), place)
        return Evidence(outputs, references=references.take(place))

    subject = Subject.of(Pool(held(saw), held(~saw)), name="target", density=None, seed=seed)
    scores = subject.attacked_by(ATTACKS.build(name, where="test")).scores
    return auc(scores.members, scores.nonmembers)


@pytest.mark.parametrize("name", ["lira-online", "lira-offline", "rmia"])
@pytest.mark.parametrize("models", [5, 8])
def test_siblings_find_nothing_where_nothing_leaks_and_something_where_it_does(name, models):
    nothing = [attacked(name, models, seed=seed, leak=0.0) for seed in range(12)]
    # Twelve means of 1,000 rows: a standard error of .005.
    assert abs(sum(nothing) / 12 - 0.5) < 0.02
    something = [attacked(name, models, seed=seed, leak=1.0) for seed in range(4)]
    assert sum(something) / 4 > 0.55


def test_a_rate_that_few_rows_do_not_carry_is_none():
    scores = torch.linspace(0, 1, 2000, dtype=torch.float64)
    assert carried_rate(scores, scores[:999], 0.01) is None
    assert carried_rate(scores, scores[:1000], 0.01) == 0.505
