"""Metric attacks by hand, and where a plain softmax has no digits left."""

from __future__ import annotations

import math

import pytest
import torch

from safecompress.attacks.metric import (
    ConfidenceAttack,
    EntropyAttack,
    LossAttack,
    ModifiedEntropyAttack,
    Terms,
    log_odds,
    terms,
    true_class_log_odds,
)
from safecompress.protocols import Evidence, Outputs, Pool, by_blocks

METRICS = (LossAttack(), ConfidenceAttack(), EntropyAttack(), ModifiedEntropyAttack())


def outputs(logits, labels) -> Outputs:
    labels = torch.tensor(labels)
    return Outputs(torch.tensor(logits, dtype=torch.float32), labels, torch.arange(len(labels)))


def score(attack, logits, labels):
    return attack.score(None, Evidence(outputs(logits, labels)))


def test_a_row_worked_by_hand():
    # p = (1/2, 1/4, 1/4), label 1.
    logits, label = [[math.log(2), 0.0, 0.0]], [1]
    half, quarter = math.log(2), math.log(4)
    expected = {
        "loss": -quarter,
        "confidence": 0.0,
        "entropy": -(0.5 * half + 2 * 0.25 * quarter),
        "modified-entropy": -(0.75 * quarter - 0.5 * math.log(0.5) - 0.25 * math.log(0.75)),
    }
    for attack in METRICS:
        assert score(attack, logits, label).item() == pytest.approx(expected[attack.name], abs=1e-7)


def test_modified_entropy_of_a_certain_mistake_is_the_worst_and_of_a_certain_hit_the_best():
    hit, unsure, mistake = score(
        ModifiedEntropyAttack(), [[9.0, 0.0], [0.1, 0.0], [9.0, 0.0]], [0, 0, 1]
    )
    assert hit > unsure > mistake


@pytest.mark.parametrize("gap", [10.0, 40.0, 100.0, 700.0])
def test_saturated_losses_keep_their_digits(gap):
    given = score(LossAttack(), [[gap, 0.0]], [0]).item()
    assert given == pytest.approx(-math.log1p(math.exp(-gap)), rel=1e-12)
    assert given < 0


@pytest.mark.parametrize("attack", METRICS, ids=repr)
def test_saturated_rows_stay_apart(attack):
    scores = score(attack, [[gap, 0.0, -1.0] for gap in (36.0, 60.0, 200.0, 600.0)], [0] * 4)
    assert bool((scores.diff() > 0).all())


@pytest.mark.parametrize("attack", METRICS, ids=repr)
@pytest.mark.parametrize("classes", [1, 2, 7])
def test_enormous_logits_give_finite_scores(attack, classes):
    rows = [[1e4] * classes, [-1e4] * classes, [1e4] + [-1e4] * (classes - 1)]
    for label in {0, classes - 1}:
        assert bool(torch.isfinite(score(attack, rows, [label] * 3)).all())


def test_an_enormous_mistake_costs_what_the_formula_says():
    logits, label = [[1e4, -1e4]], [1]
    assert score(LossAttack(), logits, label).item() == pytest.approx(-2e4)
    # (1 − p_y) log p_y and p_0 log(1 − p_0) are both 2e4.
    assert score(ModifiedEntropyAttack(), logits, label).item() == pytest.approx(-4e4)
    assert score(EntropyAttack(), logits, label).item() == pytest.approx(0.0, abs=1e-12)
    assert score(ConfidenceAttack(), logits, label).item() == pytest.approx(2e4)


@pytest.mark.parametrize("attack", METRICS, ids=repr)
def test_adding_a_constant_to_all_logits_changes_nothing(attack):
    plain = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.arange(50) % 6
    shifted = attack.metric(terms(plain + 1e3, labels))
    torch.testing.assert_close(shifted, attack.metric(terms(plain, labels)), rtol=1e-9, atol=1e-9)


def test_label_free_attacks_do_not_read_the_label():
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(1)).tolist()
    for attack in (ConfidenceAttack(), EntropyAttack()):
        assert torch.equal(score(attack, logits, [0] * 20), score(attack, logits, [4] * 20))


def test_log_odds_of_the_label_are_the_logit_of_its_probability():
    given = outputs([[1.0, 0.0, -1.0], [0.0, 3.0, 0.5]], [2, 1])
    p = torch.softmax(given.logits.double(), dim=1)[torch.arange(2), given.labels]
    torch.testing.assert_close(true_class_log_odds(given), torch.logit(p))


@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 51])
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_rows_score_alike_to_the_last_bit_wherever_they_stand(rows, classes, dtype):
    logits = torch.randn(1, classes, dtype=dtype).repeat(rows, 1)
    given = Outputs(logits, torch.full((rows,), classes - 1), torch.arange(rows))
    for attack in METRICS:
        assert len(set(attack.score(None, Evidence(given)).tolist())) == 1
    assert len(set(true_class_log_odds(given).tolist())) == 1


def test_blocks_of_rows_change_nothing(monkeypatch):
    given = outputs(torch.randn(37, 4).tolist(), [i % 4 for i in range(37)])
    whole = by_blocks(log_odds, given.logits, given.labels)
    monkeypatch.setattr("safecompress.protocols.blocks._BLOCK", 64)
    assert torch.equal(by_blocks(log_odds, given.logits, given.labels), whole)


def test_the_gradient_of_the_terms_is_theirs():
    logits = 6 * torch.randn(20, 7, generator=torch.Generator().manual_seed(2)).double()
    labels = torch.cat([logits[:10].argmax(dim=1), torch.arange(10) % 7])
    assert torch.autograd.gradcheck(lambda z: tuple(terms(z, labels)), logits.requires_grad_())


def test_the_terms_of_outputs_are_computed_once_and_taken_along(monkeypatch):
    given = outputs(torch.randn(30, 4).tolist(), [i % 4 for i in range(30)])
    whole = Terms.of(given)
    monkeypatch.setattr("safecompress.attacks.metric.terms", None)
    assert torch.equal(Terms.of(given).odds, whole.odds)
    some = torch.tensor([7, 3, 29])
    for taken, value in zip(Terms.of(given.take(some)), whole, strict=True):
        assert torch.equal(taken, value[some])


def test_two_groups_read_in_one_pass_are_read_alike():
    groups = Pool(
        outputs(torch.randn(30, 4).tolist(), [i % 4 for i in range(30)]),
        outputs(torch.randn(21, 4).tolist(), [i % 3 for i in range(21)]),
    )
    alone = groups.map(lambda o: Terms.of(o.take(torch.arange(len(o)))))
    LossAttack().read(groups)
    for found, expected in zip(
        (*Terms.of(groups.members), *Terms.of(groups.nonmembers)),
        (*alone.members, *alone.nonmembers),
        strict=True,
    ):
        assert torch.equal(found, expected)


def test_terms_have_a_gradient_even_where_they_saturate():
    logits = torch.tensor([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0], [90.0, 1.0, 0.0]], requires_grad=True)
    labels = torch.tensor([1, 0, 0])
    seen = terms(logits, labels)
    (seen.loss + seen.entropy + seen.modified_entropy).sum().backward()
    assert bool(torch.isfinite(logits.grad).all())
