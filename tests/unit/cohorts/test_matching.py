"""`matched`: references whose numbers tell nothing of the target's members."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from safecompress import splits_from_arrays
from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.cohorts.matching import matched
from safecompress.cohorts.plan import deal
from safecompress.cohorts.shadow_models import _cohort
from safecompress.config import load_config
from safecompress.data import Ledger
from safecompress.errors import UndecidableError
from safecompress.protocols import Evidence, Outputs, Pool, References
from safecompress.randomness import generator
from safecompress.stats import auc

ATTACKERS = ("lira-online", "lira-offline", "rmia", "calibrated")


def dealt(models: int, members: float, *, rows: int, seed: int) -> Tensor:
    inputs = torch.arange(rows, dtype=torch.float32).unsqueeze(1)
    return deal(inputs, members=round(members * rows), count=models, seed=seed)


def others_of(target: int, said: Tensor, seen: Tensor) -> References:
    is_other = torch.arange(len(seen)) != target
    return References(said[is_other], seen[is_other])


cohorts = st.tuples(
    st.integers(4, 21),
    st.floats(0.3, 0.7),
    st.integers(0, 2**20),
    st.integers(0, 20),
)


@settings(max_examples=40, deadline=None)
@given(cohorts)
def test_the_numbers_that_remain_are_distributed_alike_in_both_groups(cohort):
    models, members, seed, number = cohort
    rows, target = 1_000, number % models
    seen = dealt(models, members, rows=rows, seed=seed)
    saw = seen[target]
    others = others_of(target, torch.zeros(models, rows, dtype=torch.float64), seen)
    remaining = matched(others, saw, seed=seed).seen.sum(dim=0)
    times = seen.sum(dim=0)
    more = [float((times[group] > times.min()).double().mean()) for group in (saw, ~saw)]
    sizes = [int(group.sum()) for group in (saw, ~saw)]
    for number_of in remaining.unique().tolist():
        shares = [float((remaining[group] == number_of).double().mean()) for group in (saw, ~saw)]
        # What cannot be evened out is what the draw itself did against the members.
        allowed = max(0.0, more[1] - more[0]) + sum(1 / n for n in sizes)
        assert abs(shares[0] - shares[1]) <= allowed
    # And that is chance alone.
    share = float(times.double().mean() - times.min())
    chance = math.sqrt(share * (1 - share) * sum(1 / n for n in sizes))
    assert more[1] - more[0] <= 5 * chance + 0.01


@settings(max_examples=20, deadline=None)
@given(cohorts)
def test_of_every_row_the_others_are_who_they_were_but_for_one(cohort):
    models, members, seed, number = cohort
    rows, target = 200, number % models
    seen = dealt(models, members, rows=rows, seed=seed)
    said = torch.rand(models, rows, generator=generator(seed, "said"), dtype=torch.float64)
    others = others_of(target, said, seen)
    left = matched(others, seen[target], seed=seed)
    assert left.seen.shape == (models - 2, rows)
    for row in range(0, rows, 9):
        before = list(
            zip(others.log_odds[:, row].tolist(), others.seen[:, row].tolist(), strict=True)
        )
        after = list(zip(left.log_odds[:, row].tolist(), left.seen[:, row].tolist(), strict=True))
        missing = [pair for pair in before if pair not in after]
        assert len(missing) == 1
        assert [pair for pair in before if pair != missing[0]] == after


def test_what_is_left_out_depends_on_the_seed_alone():
    seen = dealt(8, 0.45, rows=500, seed=0)
    said = torch.rand(seen.shape, generator=generator(0, "said"), dtype=torch.float64)
    others = others_of(7, said, seen)
    first, again = (matched(others, seen[7], seed=1) for _ in range(2))
    assert torch.equal(first.log_odds, again.log_odds)
    assert not torch.equal(first.log_odds, matched(others, seen[7], seed=2).log_odds)


def test_a_row_without_a_model_to_leave_out_is_refused():
    others = References(torch.zeros(2, 3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(UndecidableError, match="3 of 3 rows"):
        matched(others, torch.ones(3, dtype=torch.bool), seed=0)


def attacked(models: int, members: float, *, rows: int, seed: int, leak: float) -> dict[str, float]:
    """Return each attack's mean AUC over all targets of a cohort of simulated models.

    Rows differ in difficulty, and models in how confident they are of everything.
    """
    seen = dealt(models, members, rows=rows, seed=seed)
    source = generator(seed, "said")

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    said = normal(models, rows) + 2 * normal(rows) + 0.3 * normal(models, 1) + leak * seen
    found: dict[str, list[float]] = {name: [] for name in ATTACKERS}
    for target in range(models):
        references = matched(others_of(target, said, seen), seen[target], seed=seed)
        logits = torch.stack([said[target], torch.zeros(rows)], dim=1).float()

        def held(mask: Tensor, logits: Tensor = logits, known: References = references) -> Evidence:
            place = mask.nonzero().squeeze(1)
            outputs = Outputs(logits[place], torch.zeros_like(place), place)
            return Evidence(outputs, references=known.take(place))

        pool = Pool(held(seen[target]), held(~seen[target]))
        subject = Subject.of(pool, name="target", density=None, seed=seed)
        for name in ATTACKERS:
            scores = subject.attacked_by(ATTACKS.build(name, where="test")).scores
            found[name].append(auc(scores.members, scores.nonmembers))
    return {name: statistics.mean(aucs) for name, aucs in found.items()}


@pytest.mark.parametrize(
    ("models", "members", "cohorts"), [(5, 0.5, 48), (8, 0.4, 24), (20, 0.454, 12)]
)
def test_siblings_find_nothing_where_nothing_leaks(models, members, cohorts):
    found = [attacked(models, members, rows=2_000, seed=s, leak=0.0) for s in range(cohorts)]
    for name in ATTACKERS:
        aucs = [each[name] for each in found]
        error = statistics.stdev(aucs) / math.sqrt(cohorts)
        assert error <= 0.002, name
        assert abs(statistics.mean(aucs) - 0.5) <= 3 * error, (name, statistics.mean(aucs), error)


@pytest.mark.parametrize("models", [5, 8])
def test_siblings_find_members_where_members_leak(models):
    found = [attacked(models, 0.5, rows=1_000, seed=seed, leak=1.0) for seed in range(2)]
    assert min(auc for each in found for auc in each.values()) > 0.55


def test_how_often_shadow_models_trained_on_a_row_tells_nothing_of_the_run_they_repeat(tmp_path):
    aucs = []
    half = {"sparse": {"density": 0.5}}
    for seed in range(30):
        draw = generator(seed, "rows")
        x, y = torch.randn(600, 4, generator=draw), torch.randint(3, (600,), generator=draw)
        splits = splits_from_arrays(x.numpy(), y.numpy(), seed=seed)
        sealed = splits.open_sealed(Ledger(None), model_digest="shadows")[0]
        cohort = _cohort(
            tmp_path / str(seed),
            load_config(half | {"seed": seed}),
            splits,
            sealed,
        )
        counts = sealed.map(
            lambda rows, c=cohort: c.plan.seen(5)[:, c.places(rows.ids)].sum(dim=0).double()
        )
        aucs.append(auc(counts.members, counts.nonmembers))
    error = statistics.stdev(aucs) / math.sqrt(len(aucs))
    assert error < 0.02
    assert abs(statistics.mean(aucs) - 0.5) <= 3 * error
