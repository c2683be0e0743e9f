"""Judges among a cohort's other models: of every row the same number that did not see it."""

from __future__ import annotations

import pytest
import torch

from safecompress.cohorts.outside import outside_judges
from safecompress.errors import UndecidableError
from safecompress.protocols import References
from safecompress.randomness import generator


def drawn(seed, *, models=7, rows=60, classes=4):
    source = generator(seed, "test")
    logits = torch.randn(models, rows, classes, generator=source, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=source)
    seen = torch.rand(models, rows, generator=source) < 0.4
    seen[0] = False
    return logits, labels, seen


@pytest.mark.parametrize("seed", range(5))
def test_only_models_that_did_not_see_a_row_judge_it_and_as_many_for_each(seed):
    logits, labels, seen = drawn(seed)
    judges = outside_judges(References.of(logits, labels, seen), labels, seed=seed)
    count = int((~seen).sum(dim=0).min())
    assert judges.log_odds.shape == (count, len(labels))
    p = logits.softmax(dim=2)
    own = p.gather(2, labels.expand(len(p), -1).unsqueeze(2)).squeeze(2)
    odds, entropy = torch.logit(own), -(p * p.log()).sum(dim=2)
    for row in range(len(labels)):
        outside = [k for k in range(len(seen)) if not seen[k, row]]
        who = [
            k
            for said in judges.log_odds[:, row]
            for k in range(len(seen))
            if torch.isclose(odds[k, row], said)
        ]
        assert len(set(who)) == count
        assert set(who) <= set(outside)
        assert torch.allclose(judges.entropy[:, row], entropy[who, row])


def test_which_models_judge_is_drawn_by_the_seed():
    logits, labels, seen = drawn(1)
    references = References.of(logits, labels, seen)
    first, again, other = (outside_judges(references, labels, seed=s).log_odds for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_row_that_every_model_saw_cannot_be_judged():
    logits, labels, seen = drawn(2)
    seen[:, 3] = True
    with pytest.raises(UndecidableError, match="train more models"):
        outside_judges(References.of(logits, labels, seen), labels, seed=0)
