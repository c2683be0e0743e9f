"""The attack `six-numbers`: a leak that the label's log-odds do not show, and one that is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from safecompress.attacks import ATTACKS
from safecompress.attacks.imagined import synthetic_outputs
from safecompress.attacks.metric import Terms
from safecompress.data import halves
from safecompress.errors import DataError, NonFiniteError
from safecompress.protocols import Evidence, Judges, Outputs, Pool, References
from safecompress.stats import auc, auc_interval

ROWS = 1600


def calmer(outputs: Outputs, rows: Tensor) -> Outputs:
    """Return outputs whose wrong classes are alike on some rows; the label's log-odds stay."""
    logits = outputs.logits.double().clone()
    wrong = torch.ones_like(logits).scatter_(1, outputs.labels[:, None], 0.0).bool()
    others = logits.masked_fill(~wrong, -torch.inf)
    level = others.logsumexp(1, keepdim=True) - torch.tensor(float(logits.shape[1] - 1)).log()
    logits[rows] = torch.where(wrong, level, logits)[rows]
    return Outputs(logits, outputs.labels, outputs.ids)


def evidence(leaking: bool, *, seed: int) -> Pool[Evidence]:
    """Return a target whose members may be answered otherwise than by label, and its judges."""
    outputs = synthetic_outputs(ROWS, seed=seed)
    known = Terms.of(outputs)
    judges = Judges(known.odds[None], known.entropy[None])
    references = References(known.odds[None], torch.zeros(1, ROWS, dtype=torch.bool))
    members = torch.arange(ROWS) < ROWS // 2
    target = calmer(outputs, members) if leaking else outputs
    whole = Evidence(target, references=references, judges=judges)
    return Pool(whole.take(members), whole.take(~members))


def found(attack: str, pool: Pool[Evidence]) -> Pool[Tensor]:
    cut = pool.map(lambda e: halves(e.outputs.ids, seed=0))
    return ATTACKS.build(attack, where="test")(pool, halves=cut, seed=0).scores


@pytest.mark.parametrize("seed", range(3))
def test_a_leak_beside_the_label_is_found_that_calibrated_confidence_cannot_see(seed: int) -> None:
    pool = evidence(leaking=True, seed=seed)
    blind = found("calibrated", pool)
    assert auc(*(s.round(decimals=6) for s in (blind.members, blind.nonmembers))) == 0.5
    seen = found("six-numbers", pool)
    assert auc(seen.members, seen.nonmembers) > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_nothing_leaks(seed: int) -> None:
    scores = found("six-numbers", evidence(leaking=False, seed=seed))
    interval = auc_interval(scores.members, scores.nonmembers, level=0.999)
    assert interval.low <= 0.5 <= interval.high


def test_it_reads_the_judges_and_not_their_order() -> None:
    pool = evidence(leaking=True, seed=0)
    two = pool.map(lambda e: _beside(e, torch.stack([e.outputs.ids, -e.outputs.ids]).double()))
    turned = two.map(lambda e: _beside(e, e.judges.log_odds.flip(0)))  # type: ignore[union-attr]
    first, second = (found("six-numbers", p).members for p in (two, turned))
    assert torch.equal(first, second)
    assert not torch.equal(first, found("six-numbers", pool).members)


def _beside(evidence: Evidence, odds: Tensor) -> Evidence:
    return replace(evidence, judges=Judges(odds, torch.zeros_like(odds)))


@pytest.mark.parametrize(
    ("odds", "entropy", "error"),
    [
        (torch.zeros(0, 3).double(), torch.zeros(0, 3).double(), DataError),
        (torch.zeros(2, 3).double(), torch.zeros(1, 3).double(), DataError),
        (torch.zeros(2, 3), torch.zeros(2, 3), DataError),
        (torch.full((1, 3), torch.inf).double(), torch.zeros(1, 3).double(), NonFiniteError),
    ],
)
def test_judges_of_other_shapes_or_values_are_refused(
    odds: Tensor, entropy: Tensor, error: type[Exception]
) -> None:
    with pytest.raises(error, match="judges"):
        Judges(odds, entropy)


def test_judges_of_other_rows_are_refused() -> None:
    outputs = synthetic_outputs(20, seed=0)
    zeros = torch.zeros(1, 19).double()
    with pytest.raises(DataError, match="outputs of 20 rows, judges of 19"):
        Evidence(outputs, judges=Judges(zeros, zeros))
