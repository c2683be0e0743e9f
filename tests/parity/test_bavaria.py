"""The attacks with a prior on the variance against scipy's distributions, row by row."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import zeta
from scipy.stats import norm
from scipy.stats import t as student

from safecompress.attacks import ATTACKS
from safecompress.attacks.bavaria import Predicted, Prior
from safecompress.attacks.lira import Gaussians
from safecompress.protocols import Evidence, Pool, References
from safecompress.randomness import generator
from safecompress.stats import auc
from tests.parity.test_reference_attacks import Side, attacked, phi
from tests.unit.attacks.worlds import outputs_of

NEAR = {"rel": 1e-6, "abs": 1e-6}


@pytest.fixture(params=[0.5, 2.0], ids="scale={}".format)
def sides(request) -> list[Side]:
    return [Side(46, scale=request.param, seed=1), Side(38, scale=request.param, seed=2)]


def digamma(x: float, step: float = 1e-5) -> float:
    return (math.lgamma(x + step) - math.lgamma(x - step)) / (2 * step)


def prior(sides: list[Side], *, seen: bool) -> tuple[float, float]:
    """Return the prior's variance and weight, with the trigamma function as a zeta function."""
    logs, noise = [], []
    for side in sides:
        for i in range(len(side.p)):
            values = [phi(p) for p in side.of_row(i, seen=seen)]
            half = (len(values) - 1) / 2
            logs.append(math.log(statistics.variance(values)) - digamma(half) + math.log(half))
            noise.append(zeta(2, half))
    excess = statistics.variance(logs) - statistics.fmean(noise)
    if excess <= zeta(2, 5e5):
        half = 5e5
    else:
        half = math.exp(
            minimize_scalar(
                lambda log_half: (math.log(zeta(2, math.exp(log_half))) - math.log(excess)) ** 2,
                bounds=(math.log(0.05), math.log(5e5)),
                method="bounded",
                options={"xatol": 1e-12},
            ).x
        )
    return math.exp(statistics.fmean(logs) + digamma(half) - math.log(half)), 2 * half


def predicted(side: Side, i: int, given: tuple[float, float], *, seen: bool, gaussian: bool):
    variance, weight = given
    values = [phi(p) for p in side.of_row(i, seen=seen)]
    mean, freedom = statistics.fmean(values), weight + len(values) - 1
    squares = sum((v - mean) ** 2 for v in values)
    scale = math.sqrt((weight * variance + squares) / freedom * (1 + 1 / len(values)))
    return norm(mean, scale) if gaussian else student(freedom, mean, scale)


@pytest.mark.parametrize("predictive", ["student", "gaussian"])
def test_online_is_the_ratio_of_two_densities(sides, predictive):
    result = attacked(sides, {"bavaria-online": {"predictive": predictive}})
    priors = {seen: prior(sides, seen=seen) for seen in (True, False)}
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        expected = []
        for i, p in enumerate(side.p):
            inside, outside = (
                predicted(side, i, priors[seen], seen=seen, gaussian=predictive == "gaussian")
                for seen in (True, False)
            )
            expected.append(inside.logpdf(phi(p)) - outside.logpdf(phi(p)))
        # A Student's density is normed by its freedom, a Gaussian's by nothing that varies.
        assert scores.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("predictive", ["student", "gaussian"])
def test_offline_is_the_tail_in_sigmas_of_a_gaussian(sides, predictive):
    result = attacked(sides, {"bavaria-offline": {"predictive": predictive}})
    given = prior(sides, seen=False)
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        rows = [
            predicted(side, i, given, seen=False, gaussian=predictive == "gaussian")
            for i in range(len(side.p))
        ]
        tails = [row.logsf(phi(p)) for row, p in zip(rows, side.p, strict=True)]
        expected = -norm.isf(-np.expm1(tails))
        assert scores.tolist() == pytest.approx(expected.tolist(), abs=0.02)


@given(
    freedom=st.floats(3, 1e5), size=st.floats(0, 8), mean=st.floats(-9, 9), scale=st.floats(0.1, 9)
)
def test_sigmas_have_the_tail_of_students_t(freedom, size, mean, scale):
    said = Predicted(*(torch.tensor([v], dtype=torch.float64) for v in (mean, scale, freedom)))
    sigmas = float(said.sigmas(torch.tensor([mean + scale * size], dtype=torch.float64)))
    assert sigmas == pytest.approx(norm.isf(student.sf(size, freedom)), abs=0.04)
    below = float(said.sigmas(torch.tensor([mean - scale * size], dtype=torch.float64)))
    assert below == pytest.approx(-sigmas, abs=1e-9)


@pytest.mark.parametrize("weight", [2.0, 8.0, math.inf])
@pytest.mark.parametrize("number", [3, 8])
def test_the_prior_is_found_again(weight, number):
    """Variances drawn from a scaled inverse χ², and samples from each."""
    rows = 20_000
    moments, _ = _drawn(rows, number, weight=weight, variance=1.7, seed=number)
    found = Prior.of(moments, attack="test")
    assert found.variance == pytest.approx(1.7, rel=0.08)
    if math.isinf(weight):
        # Its estimate is a difference of variances, zero but for noise.
        assert found.weight > 50
    else:
        assert found.weight == pytest.approx(weight, rel=0.15)


def _drawn(rows: int, number: int, *, weight: float, variance: float, seed: int):
    source = generator(seed, "prior")
    variances = torch.full((rows,), variance, dtype=torch.float64)
    if math.isfinite(weight):
        chi = torch.randn(rows, int(weight), generator=source, dtype=torch.float64)
        variances = variances * weight / chi.square().sum(dim=1)
    values = torch.randn(number, rows, generator=source, dtype=torch.float64) * variances.sqrt()
    mean = values.mean(dim=0)
    number_of = torch.full((rows,), float(number), dtype=torch.float64)
    return Gaussians(number_of, mean, (values - mean).square().sum(dim=0)), variances


@pytest.mark.parametrize("references", [4, 8, 16])
def test_it_is_ahead_of_both_of_liras_variances_where_variances_differ(references):
    """On rows as the prior supposes them, no other ratio of these moments can be better."""
    n, evidence = 6000, []
    for first, shift in ((0, 1.2), (n, 0.0)):
        source = generator(first, "ahead")
        chi = torch.randn(n, 4, generator=source, dtype=torch.float64)
        sigma = (4 / chi.square().sum(dim=1)).sqrt()
        seen = torch.rand(references, n, generator=source).argsort(dim=0) < references // 2
        noise = torch.randn(references + 1, n, generator=source, dtype=torch.float64)
        said = sigma * noise[1:] + 1.2 * seen
        own = outputs_of(sigma * noise[0] + shift, first=first)
        evidence.append(Evidence(own, references=References(said, seen)))

    def found(request) -> float:
        halves = Pool(*(torch.arange(n) % 2 == 0 for _ in range(2)))
        scores = ATTACKS.build(request, where="test")(Pool(*evidence), halves=halves, seed=0).scores
        return auc(scores.members, scores.nonmembers)

    ours = found("bavaria-online")
    assert ours > found("lira-online") + 0.003
    assert ours > found({"lira-online": {"variance": "per-example"}}) + 0.005
