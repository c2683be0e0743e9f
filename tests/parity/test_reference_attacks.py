"""Attacks that read references against their formulas, written out in loops over plain numbers."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from scipy.stats import norm

from safecompress.attacks import ATTACKS
from safecompress.protocols import Evidence, Outputs, Pool, References
from safecompress.randomness import generator

REFERENCES, CLASSES = 9, 6
EXACT = {"rel": 1e-9, "abs": 1e-9}


class Side:
    """Logits of a target and of references on some rows, and the same as plain numbers."""

    def __init__(self, n: int, *, scale: float, seed: int) -> None:
        draw = generator(seed, "references")
        self.labels = torch.randint(CLASSES, (n,), generator=draw)
        self.logits = torch.randn(n, CLASSES, generator=draw) * scale
        self.reference_logits = torch.randn(REFERENCES, n, CLASSES, generator=draw) * scale
        # From two to seven of nine: every row has references of both kinds, unequally many.
        numbers = torch.randint(2, 8, (n,), generator=draw)
        order = torch.rand(REFERENCES, n, generator=draw).argsort(dim=0)
        self.seen = order < numbers
        self.reference_logits[self.seen] *= 1.5
        labels = self.labels.tolist()
        self.p = [_softmax(z)[y] for z, y in zip(self.logits.tolist(), labels, strict=True)]
        self.reference_p = [
            [_softmax(z)[y] for z, y in zip(rows, labels, strict=True)]
            for rows in self.reference_logits.tolist()
        ]

    def evidence(self) -> Evidence:
        outputs = Outputs(self.logits, self.labels, torch.arange(len(self.labels)))
        return Evidence(
            outputs, references=References.of(self.reference_logits, self.labels, self.seen)
        )

    def of_row(self, i: int, *, seen: bool) -> list[float]:
        """Return p of row i by each reference that saw it, or by each that did not."""
        return [self.reference_p[j][i] for j in range(REFERENCES) if bool(self.seen[j, i]) is seen]


def _softmax(logits: list[float]) -> list[float]:
    top = max(logits)
    parts = [math.exp(z - top) for z in logits]
    return [part / sum(parts) for part in parts]


def phi(p: float) -> float:
    return math.log(p) - math.log(1 - p)


def log_normal(x: float, mean: float, sigma: float) -> float:
    return -((x - mean) ** 2) / (2 * sigma**2) - math.log(sigma) - 0.5 * math.log(2 * math.pi)


def pooled(sides: list[Side], *, seen: bool) -> float:
    squares, freedom = 0.0, 0
    for side in sides:
        for i in range(len(side.p)):
            values = [phi(p) for p in side.of_row(i, seen=seen)]
            mean = sum(values) / len(values)
            squares += sum((v - mean) ** 2 for v in values)
            freedom += len(values) - 1
    return math.sqrt(squares / freedom)


def lira(side: Side, sides: list[Side], *, online: bool, variance: str) -> list[float]:
    scores = []
    for i, p in enumerate(side.p):
        inside = [phi(q) for q in side.of_row(i, seen=True)]
        outside = [phi(q) for q in side.of_row(i, seen=False)]
        if variance == "fixed":
            sigma_in, sigma_out = pooled(sides, seen=True), pooled(sides, seen=False)
        else:
            sigma_in, sigma_out = statistics.stdev(inside), statistics.stdev(outside)
        if online:
            score = log_normal(phi(p), statistics.fmean(inside), sigma_in)
            score -= log_normal(phi(p), statistics.fmean(outside), sigma_out)
        else:
            score = float(norm.cdf((phi(p) - statistics.fmean(outside)) / sigma_out))
        scores.append(score)
    return scores


def ratio(side: Side, i: int, *, online: bool, a: float) -> float:
    p_out = statistics.fmean(side.of_row(i, seen=False))
    if online:
        return side.p[i] / (0.5 * (statistics.fmean(side.of_row(i, seen=True)) + p_out))
    return side.p[i] / (0.5 * ((1 + a) * p_out + (1 - a)))


def rmia(
    side: Side, judged: list[int], population: list[float], *, gamma: float, online: bool, a: float
) -> list[float]:
    scores = []
    for i in judged:
        mine = ratio(side, i, online=online, a=a)
        scores.append(sum(mine >= gamma * z for z in population) / len(population))
    return scores


@pytest.fixture(params=[0.5, 2.0], ids="scale={}".format)
def sides(request) -> list[Side]:
    return [Side(46, scale=request.param, seed=1), Side(38, scale=request.param, seed=2)]


def attacked(sides: list[Side], request):
    pool = Pool(sides[0].evidence(), sides[1].evidence())
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    return ATTACKS.build(request, where="test")(pool, halves=halves, seed=0)


def test_log_odds_are_the_formula(sides):
    for side in sides:
        given = side.evidence().references.log_odds
        expected = [[phi(p) for p in row] for row in side.reference_p]
        assert given.tolist() == [pytest.approx(row, **EXACT) for row in expected]


@pytest.mark.parametrize("variance", ["fixed", "per-example"])
@pytest.mark.parametrize("kind", ["online", "offline"])
def test_lira(sides, kind, variance):
    result = attacked(sides, {f"lira-{kind}": {"variance": variance}})
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        expected = lira(side, sides, online=kind == "online", variance=variance)
        given = scores.numpy() if kind == "online" else norm.cdf(scores.numpy())
        assert given.tolist() == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("online", [True, False])
def test_rmia(sides, online, gamma, a):
    result = attacked(sides, {"rmia": {"gamma": gamma, "online": online, "a": a}})
    known = range(0, len(sides[1].p), 2)
    population = [ratio(sides[1], i, online=online, a=a) for i in known]
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        judged = list(range(1, len(side.p), 2))
        expected = rmia(side, judged, population, gamma=gamma, online=online, a=a)
        assert scores.tolist() == pytest.approx(expected, **EXACT)
        assert len(set(expected)) > 3


def test_rmia_is_online_where_every_row_has_references_of_both_kinds(sides):
    assert torch.equal(
        attacked(sides, "rmia").scores.members,
        attacked(sides, {"rmia": {"online": True}}).scores.members,
    )


def test_gap(sides):
    result = attacked(sides, "gap")
    for side, scores in zip(sides, (result.scores.members, result.scores.nonmembers), strict=True):
        rows = zip(side.logits.tolist(), side.labels.tolist(), strict=True)
        assert scores.tolist() == [float(z.index(max(z)) == y) for z, y in rows]
