"""Every registered measure keeps the contract, and every way to break it is noticed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from safecompress.checks import MEASURES, Measure, steering_measures
from safecompress.checks.contract import violations
from safecompress.config import CompressConfig
from safecompress.errors import ConfigError, UndecidableError
from safecompress.protocols import Estimate
from safecompress.stats import clopper_pearson
from tests.contracts import assert_caught, cases
from tests.support import count

EXAMPLES = {
    "accuracy": [{}],
    "density": [{}],
    "attack": [
        {"attack": name, "metric": metric}
        for name, metric in (
            ("loss", "auc"),
            ("loss", "class-balanced-accuracy"),
            ("loss", "advantage"),
            ("neural", "balanced-accuracy"),
            ("confidence", "tpr@0.05"),
            ("lira-online", "class-advantage"),
            ("pair", "auc"),
            ("white-box", "auc"),
            ("six-numbers", "auc"),
        )
    ],
    "attribute": [{"column": 3}],
    "transfer": [
        {"rows": 30, "radius": 0.2, "epochs": 2},
        {"rows": 30, "norm": "l2", "radius": 0.3, "targeted": True, "epochs": 0},
    ],
    "transfer-gain": [{"rows": 30, "radius": 0.2, "epochs": 1, "questions": 20}],
    "query-saving": [{"rows": 30, "radius": 0.5, "budget": 100, "epochs": 1}],
    "accuracy-under-noise": [{}, {"noise": 0.1}],
    "group": [{}, {"by": "region"}, {"attacks": ["gap", {"neural": {}}, "white-box"]}],
    "balanced-accuracy": [{}],
    "macro-f1": [{}],
    "worst-class-recall": [{}],
    "gain-over-majority": [{}],
    "epsilon-lower-bound": [{}],
}
REQUESTS = [{name: options} for name in sorted(EXAMPLES) for options in EXAMPLES[name]]


def test_every_registered_measure_has_an_example():
    assert set(EXAMPLES) == set(MEASURES.all())


@pytest.mark.parametrize("seed", range(count(1, 10)))
@pytest.mark.parametrize("request_", REQUESTS, ids=str)
def test_every_registered_measure_keeps_the_contract(request_, seed):
    assert violations(MEASURES.build(request_, where="test"), seed=seed) == ()


@dataclass(frozen=True)
class Mine(Measure):
    """Share of the members that the model is right on."""

    name = "recall"
    worse = "higher"

    def rows(self, subject):
        return subject.evidence.members.outputs

    def estimate(self, subject, *, level):
        right = self.rows(subject).correct
        found = clopper_pearson(int(right.sum()), len(right), level=level)
        return Estimate(found.value, found.low, found.high, len(right), 0)

    def difference(self, subject, dense, *, level):
        ours, theirs = (self.estimate(s, level=level) for s in (subject, dense))
        gap = ours.value - theirs.value
        return Estimate(gap, gap + ours.low - ours.value, gap + ours.high - ours.value, 0, 0)


class Thawed(Measure):
    name = "thawed"
    worse = "higher"
    estimate = Mine.estimate
    difference = Mine.difference
    rows = Mine.rows


class Aimless(Mine):
    worse = None


class Changed(Mine):
    def estimate(self, subject, *, level):
        found = super().estimate(subject, level=level)
        return self.changed(found, subject, level)


class OutOfBounds(Changed):
    def changed(self, found, subject, level):
        return replace(found, value=found.high + 0.1)


class Shrinks(Changed):
    def changed(self, found, subject, level):
        half = (1 - level) / 2
        return replace(found, low=found.value - half, high=found.value + half)


class Undefined(Changed):
    def changed(self, found, subject, level):
        return replace(found, value=float("nan"))


class Miscounts(Changed):
    def changed(self, found, subject, level):
        return replace(found, n_members=1_000)


class Guesses(Changed):
    def changed(self, found, subject, level):
        return replace(found, knowledge="god")


class Dice(Changed):
    def changed(self, found, subject, level):
        shift = 0.01 * np.random.random()
        return replace(found, value=found.value + shift, high=found.high + shift)


class FirstRows(Mine):
    def rows(self, subject):
        return subject.evidence.members.outputs.take(torch.arange(40))


class Scribbles(Mine):
    def rows(self, subject):
        outputs = subject.evidence.members.outputs
        outputs.logits.neg_()
        return outputs


class Greedy(Mine):
    requires = frozenset({"rows"})


class AsksTheModel(Mine):
    def rows(self, subject):
        evidence = subject.evidence.members
        evidence.target(evidence.rows.inputs)
        return evidence.outputs


class Unknown(Mine):
    requires = frozenset({"diary"})


class DiffersFromItself(Mine):
    def difference(self, subject, dense, *, level):
        return self.estimate(subject, level=level)


class NeverDecides(Mine):
    def estimate(self, subject, *, level):
        raise UndecidableError("too few rows")


BREACHES = {
    "measures": [
        (Thawed(), "not a frozen dataclass"),
        (Aimless(), "does not say which direction is worse"),
        (OutOfBounds(), "is outside ["),
        (Shrinks(), "no narrower at 0.9"),
        (Undefined(), "is not finite"),
        (Miscounts(), "it rests on 1000 members; there are 200"),
        (Guesses(), "its knowledge is 'god'"),
        (Dice(), "global random generator"),
        (Dice(), "the same rows give different figures"),
        (FirstRows(), "depend on the order of the rows"),
        (Scribbles(), "changes its evidence in place"),
        (Greedy(), "requires 'rows' and does as well without it"),
        (AsksTheModel(), "raised"),
        (Unknown(), "it requires diary"),
        (DiffersFromItself(), "a model differs from itself by"),
        (NeverDecides(), "raised UndecidableError: too few rows"),
    ],
}


@cases(BREACHES)
def test_a_broken_measure_is_caught(part, expected):
    assert_caught(violations(part), expected)


def test_a_sound_measure_of_somebody_else_passes():
    assert violations(Mine()) == ()


def test_a_figure_that_should_be_high_is_no_risk_of_the_loop():
    source = {"source": "sklearn", "name": "digits"}
    steer = {"measures": ["density", "accuracy"]}
    config = CompressConfig.model_validate(
        {
            "data": {"source": source},
            "model": {"name": "mlp"},
            "sparse": {"density": 0.5},
            "steer": steer,
        }
    )
    with pytest.raises(ConfigError, match=r"steer.measures\[1\]: of accuracy lower is worse"):
        steering_measures(config)
