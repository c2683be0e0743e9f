"""Controls: sound attacks pass, broken ones do not, and the blind baseline sees what differs."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from safecompress.attacks import controls
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.controls import blind_baseline, no_leak, planted_leak
from safecompress.attacks.imagined import plant
from safecompress.attacks.metric import LossAttack, log_odds, true_class_log_odds
from safecompress.attacks.neural import NeuralAttack
from safecompress.errors import MissingEvidenceError, UndecidableError
from safecompress.protocols import Attack, Outputs, Pool, Rows
from safecompress.stats.roc import auc


@dataclass(frozen=True)
class ByPosition(Attack):
    """Broken: finds 'members' where there are none, by the ids of the rows it was fitted on."""

    name = "by-position"

    def fit(self, known, *, seed):
        return None

    def score(self, fitted, evidence):
        size = len(evidence.outputs)
        return torch.full((size,), float(evidence.outputs.ids[0]), dtype=torch.float64)


@dataclass(frozen=True)
class WrongSign(Attack):
    name = "wrong-sign"

    def score(self, fitted, evidence):
        return evidence.outputs.losses


@dataclass(frozen=True)
class NeedsTheTrainingLog(Attack):
    name = "needs-the-training-log"
    requires = frozenset({"training_log"})

    def score(self, fitted, evidence):
        raise AssertionError("never reached")


def test_planting_raises_only_the_label_and_only_upwards():
    outputs = synthetic_outputs(300, seed=3)
    planted = plant(outputs, like=outputs, seed=0)
    change = planted.logits - outputs.logits
    columns = torch.arange(10).expand(300, 10)
    assert not change[columns != outputs.labels[:, None]].any()
    assert bool((change >= 0).all())
    assert float(planted.correct.float().mean()) > 0.99


def test_planted_rows_are_as_certain_as_the_surest_quarter():
    outputs = synthetic_outputs(2000, seed=3)
    odds = true_class_log_odds(plant(outputs, like=outputs, seed=0))
    tops = log_odds(outputs.logits.double(), outputs.logits.argmax(dim=1)).sort().values
    assert float(odds.min()) >= float(tops[1500]) + 1 - 1e-4


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_leak_follows_the_model_s_own_scale(scale):
    plain = synthetic_outputs(400, seed=3)
    outputs = Outputs(plain.logits * scale, plain.labels, plain.ids)
    assert planted_leak(outputs, LossAttack(), seed=0).ok


def test_a_constant_model_can_be_given_a_leak_too():
    plain = synthetic_outputs(400, seed=3)
    outputs = Outputs(torch.zeros_like(plain.logits), plain.labels, plain.ids)
    assert auc(plant(outputs, like=outputs, seed=0).logits.amax(1), torch.zeros(400)) == 1.0


def test_an_attack_of_the_wrong_sign_misses_the_planted_leak():
    result = planted_leak(synthetic_outputs(400, seed=4), WrongSign(), seed=0)
    assert not result.ok
    assert result.auc < 0.3
    assert "planted-leak: wrong-sign has AUC 0." in result.message
    assert "an AUC of 0.75 or more on the latter" in result.message


def test_an_attack_that_sees_members_everywhere_fails_the_no_leak_control():
    results = [no_leak(synthetic_outputs(400, seed=s), ByPosition(), seed=s) for s in range(4)]
    assert not all(r.ok for r in results)
    broken = next(r for r in results if not r.ok)
    assert broken.auc == 1.0
    assert "nobody trained on any of these rows" in broken.message


@pytest.mark.parametrize("control", [planted_leak, no_leak])
class TestBothControls:
    @pytest.mark.parametrize(("attack", "fewest"), [(LossAttack(), 48), (NeuralAttack(), 96)])
    def test_too_few_rows_are_undecidable(self, control, attack, fewest):
        with pytest.raises(UndecidableError, match=f"{fewest - 1} rows nobody trained on"):
            control(synthetic_outputs(fewest - 1, seed=0), attack, seed=0)
        assert control(synthetic_outputs(fewest, seed=0), attack, seed=0).ok

    def test_what_no_evidence_holds_cannot_be_imagined(self, control):
        with pytest.raises(MissingEvidenceError, match="training_log"):
            control(synthetic_outputs(200, seed=0), NeedsTheTrainingLog(), seed=0)

    def test_the_row_order_does_not_matter(self, control):
        outputs = synthetic_outputs(300, seed=5)
        order = torch.randperm(300, generator=torch.Generator().manual_seed(0))
        one, two = (control(o, LossAttack(), seed=1) for o in (outputs, outputs.take(order)))
        assert one.auc == pytest.approx(two.auc, abs=1e-12)

    def test_every_row_is_used_once(self, control):
        result = control(synthetic_outputs(301, seed=5), LossAttack(), seed=1)
        assert (result.n_members, result.n_nonmembers) == (150, 151)


def test_one_class_has_nothing_to_leak():
    outputs = Outputs(torch.zeros(300, 1), torch.zeros(300, dtype=torch.long), torch.arange(300))
    with pytest.raises(UndecidableError, match="single class"):
        planted_leak(outputs, LossAttack(), seed=0)


def blind_pool(n: int, *, width: int, seed: int, classes: int = 5) -> Pool[Rows]:
    source = torch.Generator().manual_seed(seed)
    rows = Rows(
        torch.randn(2 * n, width, generator=source),
        torch.randint(classes, (2 * n,), generator=source),
        torch.arange(2 * n),
    )
    return Pool(rows.take(torch.arange(n)), rows.take(torch.arange(n, 2 * n)))


def blind(pool: Pool[Rows], seed: int = 0):
    halves = pool.map(lambda rows: torch.arange(len(rows)) % 2 == 0)
    return blind_baseline(pool, halves=halves, seed=seed)


def shifted_column(rows: Rows) -> Rows:
    inputs = rows.inputs.clone()
    inputs[:, 7] += 1.0
    return Rows(inputs, rows.labels, rows.ids)


def brighter(rows: Rows) -> Rows:
    return Rows(rows.inputs + 0.2, rows.labels, rows.ids)


def wider(rows: Rows) -> Rows:
    return Rows(rows.inputs * 1.2, rows.labels, rows.ids)


def fewer_classes(rows: Rows) -> Rows:
    return Rows(rows.inputs, rows.labels // 2, rows.ids)


@pytest.mark.parametrize("change", [shifted_column, brighter, wider, fewer_classes])
@pytest.mark.parametrize("width", [20, 600])
def test_the_blind_baseline_sees_groups_that_differ(change, width):
    pool = blind_pool(600, width=width, seed=1)
    result = blind(Pool(change(pool.members), pool.nonmembers))
    assert result.alarm
    assert "no membership figure means anything" in result.message


def test_the_blind_baseline_sees_other_words():
    source = torch.Generator().manual_seed(0)
    words = torch.randint(1, 2000, (1200, 24), generator=source)
    words[:600, 3] = torch.where(torch.rand(600, generator=source) < 0.5, 17, words[:600, 3])
    rows = Rows(
        {"input_ids": words, "attention_mask": torch.ones(1200, 24, dtype=torch.bool)},
        torch.zeros(1200, dtype=torch.long),
        torch.arange(1200),
    )
    result = blind(Pool(rows.take(torch.arange(600)), rows.take(torch.arange(600, 1200))))
    assert result.alarm


def test_the_blind_baseline_sees_missing_classes_among_many():
    pool = blind_pool(2000, width=2, seed=1, classes=300)
    other = Rows(pool.members.inputs, pool.members.labels // 2, pool.members.ids)
    assert blind(Pool(other, pool.nonmembers)).alarm


def test_the_blind_baseline_is_silent_where_nothing_differs():
    result = blind(blind_pool(600, width=200, seed=2))
    assert not result.alarm
    assert 0.4 < result.auc < 0.6
    assert "no more than chance" in result.message


def test_the_blind_baseline_takes_inputs_of_any_shape():
    pool = blind_pool(100, width=48, seed=3)
    images = pool.map(lambda r: Rows(r.inputs.reshape(-1, 3, 4, 4), r.labels, r.ids))
    pairs = pool.map(lambda r: Rows((r.inputs[:, :20], r.inputs[:, 20:]), r.labels, r.ids))
    assert not blind(images).alarm
    assert not blind(pairs).alarm


def test_constant_inputs_say_nothing():
    pool = blind_pool(100, width=3, seed=3, classes=1)
    flat = pool.map(lambda r: Rows(torch.ones_like(r.inputs), r.labels, r.ids))
    result = blind(flat)
    assert result.auc == 0.5
    assert not result.alarm


@pytest.mark.parametrize("classes", [2, 5, 300])
def test_labels_alone_show_groups_with_other_classes(classes):
    outcomes = []
    for seed in range(30):
        pool = blind_pool(1000, width=0, seed=seed, classes=classes)
        result = blind(pool, seed)
        assert (result.looked_at, result.classifier) == ("labels", "frequencies")
        outcomes.append(result.p_value)
        other = Rows(pool.members.inputs, pool.members.labels // 2, pool.members.ids)
        assert blind(Pool(other, pool.nonmembers), seed).alarm
    assert min(outcomes) > 0.001
    assert sum(p < 0.3 for p in outcomes) < 18


def test_the_same_seed_gives_the_same_blind_baseline():
    pool = blind_pool(300, width=700, seed=4)
    one, two = blind(pool, seed=3), blind(pool, seed=3)
    assert (one.auc, one.p_value) == (two.auc, two.p_value)


def test_a_blind_baseline_on_a_handful_of_rows_is_undecidable():
    with pytest.raises(UndecidableError, match="19 rows in one half"):
        blind(blind_pool(38, width=3, seed=0))


def test_controls_take_as_many_of_very_many_rows_as_they_need(monkeypatch):
    monkeypatch.setattr(controls, "_MOST_ROWS", 300)
    outputs = synthetic_outputs(1000, seed=0)
    for control in (planted_leak, no_leak):
        result = control(outputs, LossAttack(), seed=0)
        assert result.ok
        assert (result.n_members, result.n_nonmembers) == (150, 150)
