"""Models that leak nothing: how often a suite fails them, and how often it passes them.

A row's difficulty is drawn alike for members and non-members, so that no attack can tell them
apart, whatever the outputs look like. At full counts each law sees 2,250 models, 250 of each
shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from safecompress.audits.suite import TIERS, Limits, attacks_for, audit_suite
from safecompress.checks import Status, Subject, overall
from safecompress.checks.check import CheckResult
from safecompress.data import RecordedOutputs
from safecompress.protocols import Evidence, Outputs, Pool, References, Rows
from safecompress.stats import clopper_pearson
from tests.support import calibrating, count


@dataclass(frozen=True)
class Null:
    """A model, and the dense one that it was made from, that know nothing of their members."""

    members: int
    nonmembers: int
    classes: int
    digits: int | None = None
    rare: bool = False
    references: int = 0

    def draw(self, random: np.random.Generator) -> tuple[RecordedOutputs, RecordedOutputs]:
        """Return outputs of the model and of the dense one on the same rows."""
        pools = [self._group(random, n) for n in (self.members, self.nonmembers)]
        return tuple(recorded(Pool(pools[0][i], pools[1][i])) for i in (0, 1))

    def _group(self, random: np.random.Generator, n: int) -> tuple[Evidence, Evidence]:
        share = 1.0 / np.arange(1, self.classes + 1) ** 2 if self.rare else np.ones(self.classes)
        labels = random.choice(self.classes, n, p=share / share.sum())
        logits = random.normal(size=(n, self.classes))
        logits[np.arange(n), labels] += random.normal(2, 2, n)
        ids = torch.arange(n)
        made = []
        for noise, references in ((0.3, self.references), (0.2, 0)):
            known = logits + noise * random.normal(size=logits.shape)
            probabilities = np.exp(known - known.max(1, keepdims=True))
            probabilities /= probabilities.sum(1, keepdims=True)
            if self.digits is not None:
                probabilities = np.round(probabilities, self.digits)
            shown = torch.from_numpy(np.log(np.maximum(probabilities, 1e-30)))
            outputs = Outputs(shown.float(), torch.from_numpy(labels), ids)
            others = None
            if references:
                models = logits + 0.3 * random.normal(size=(references, *logits.shape))
                seen = random.random((references, n)).argsort(axis=0) < references // 2
                others = References.of(
                    torch.from_numpy(models), outputs.labels, torch.from_numpy(seen)
                )
            made.append(Evidence(outputs, references=others))
        return made[0], made[1]


def recorded(evidence: Pool[Evidence]) -> RecordedOutputs:
    rows = evidence.map(
        lambda e: Rows(torch.zeros(len(e.outputs), 0), e.outputs.labels, e.outputs.ids)
    )
    return RecordedOutputs(evidence, "logits", 0, Path("null"), rows)


def results_of(
    null: Null, seed: int, limits: Limits, *, level: float = 0.95
) -> tuple[CheckResult, ...]:
    model, dense = null.draw(np.random.default_rng(seed))
    attacks = [a for tier in TIERS if not tier.dear for a in attacks_for(tier, model.evidence)]
    suite = audit_suite(limits, attacks=attacks, baseline=dense)
    subjects = [
        Subject.of(r.evidence, name=name, density=None, seed=seed)
        for name, r in (("model", model), ("dense", dense))
    ]
    return suite.run(subjects[0], subjects[1], level=level)


def at_most_this_often(cases: list[bool], rate: float) -> None:
    """The share of true cases may be `rate` for all that these trials can tell."""
    assert clopper_pearson(sum(cases), len(cases), level=0.99).low <= rate


SHAPES = {
    "alike": Null(500, 500, 10),
    "two classes": Null(400, 400, 2),
    "few non-members": Null(1000, 100, 10),
    "few members": Null(100, 1000, 10),
    "a hundred classes": Null(500, 500, 100),
    "two digits": Null(500, 500, 10, digits=2),
    "one digit, two classes": Null(400, 400, 2, digits=1),
    "rare classes": Null(500, 500, 20, rare=True),
    "references": Null(300, 300, 10, references=8),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_suite_at_the_truth_fails_at_its_level(name: str) -> None:
    """At the strictest limits that a null keeps, .5 and no margin, one draw in 20 may fail."""
    limits = Limits(max_auc=0.5, max_advantage=0.0, margin=0.0)
    statuses = [overall(results_of(SHAPES[name], s, limits)) for s in range(count(12, 250))]
    at_most_this_often([s is Status.FAIL for s in statuses], 0.05)


@pytest.mark.parametrize("name", SHAPES)
def test_the_default_suite_never_fails_a_null(name: str) -> None:
    statuses = [overall(results_of(SHAPES[name], s, Limits())) for s in range(count(8, 250))]
    at_most_this_often([s is Status.FAIL for s in statuses], 0.001)


@pytest.mark.parametrize(
    "null",
    [Null(3000, 3000, 10), Null(3000, 3000, 10, references=16), Null(3000, 3000, 2, digits=2)],
    ids=["ten classes", "references", "two digits"],
)
def test_enough_rows_pass_a_model_that_leaks_nothing(null: Null) -> None:
    """Its dense model leaks nothing either, so it must pass 'no more than dense' as well."""
    trials = count(4, 200)
    passed = [overall(results_of(null, s, Limits())) is Status.PASS for s in range(trials)]
    if calibrating():
        assert sum(passed) >= 0.95 * trials
    else:
        assert clopper_pearson(sum(passed), trials, level=0.99).high >= 0.95
