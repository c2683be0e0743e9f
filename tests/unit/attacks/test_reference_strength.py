"""Attacks that read references: what they find, and what they do not invent."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import norm

from safecompress.attacks import ATTACKS
from safecompress.attacks.contract import synthetic_outputs
from safecompress.attacks.controls import no_leak, planted_leak
from safecompress.attacks.gap import GapAttack
from safecompress.attacks.imagined import imaginary_references
from safecompress.attacks.informia import InfoRmiaAttack
from safecompress.attacks.lira import CalibratedAttack, LiraOfflineAttack, LiraOnlineAttack
from safecompress.attacks.rmia import MeanProbability, RmiaAttack
from safecompress.errors import (
    UndecidableError,
)
from safecompress.protocols import Evidence, Outputs, Pool, References
from safecompress.randomness import generator
from tests.unit.attacks.worlds import ALL, OF_SPREAD, OFFLINE, ONLINE, found, outputs_of, run, world


class TestWhatTheyFind:
    @pytest.mark.parametrize("apart", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("attack", [*OF_SPREAD, CalibratedAttack()], ids=repr)
    def test_the_leak_of_gaussians_is_what_theory_says(self, attack, apart):
        """With many references the AUC is Φ(apart / (σ√2)), the best any attack can do."""
        pool = world(1500, references=64, apart=apart)
        best = float(norm.cdf(apart / math.sqrt(2)))
        # Means of 32 references differ a little from the truth; 3,000 rows spread by .01.
        assert best - 0.04 < found(attack, pool) < best + 0.03

    @pytest.mark.parametrize(
        "attack",
        [a for a in (*ONLINE, *OFFLINE) if isinstance(a, RmiaAttack | InfoRmiaAttack)],
        ids=repr,
    )
    def test_rmia_finds_it_too(self, attack):
        # Offline it only guesses what references that saw the row would say.
        least = 0.75 if attack.online else 0.65
        assert found(attack, world(1500, references=64, apart=1.5)) > least

    @pytest.mark.parametrize("attack", ALL, ids=repr)
    def test_nothing_where_models_do_not_differ(self, attack):
        assert 0.45 < found(attack, world(1500, references=32, apart=0.0)) < 0.55

    @pytest.mark.parametrize("attack", ALL, ids=repr)
    def test_references_find_what_the_loss_does_not(self, attack):
        pool = world(1500, references=32, apart=1.0)
        assert found(attack, pool) > found(ATTACKS.build("loss", where="test"), pool) + 0.05

    def test_a_balanced_design_gives_nothing_away(self):
        """Each row is in half of all trainings, so members are in fewer of the others."""
        k, n = 8, 4000
        draw = generator(0, "cohort")
        sides = []
        for first, seen_by in ((0, k // 2 - 1), (n, k // 2)):
            seen = torch.rand(k - 1, n, generator=draw).argsort(dim=0) < seen_by
            own = torch.randn(n, generator=draw)
            noise = torch.randn(k - 1, n, generator=draw, dtype=torch.float64)
            # References that saw a row are far surer; the target is like one that did not.
            said = References(noise + 4.0 * seen, seen)
            sides.append(Evidence(outputs_of(own, first=first), references=said))
        assert found(RmiaAttack(gamma=1.0), Pool(*sides)) == pytest.approx(0.5, abs=0.035)

    @pytest.mark.parametrize("attack", OFFLINE, ids=repr)
    def test_a_surer_target_scores_no_lower(self, attack):
        pool = world(40, references=8, apart=1.0)
        fitted = (
            attack.fit(pool, seed=0) if attack.learns else attack.survey(pool.members.references)
        )
        base = pool.members.outputs.logits
        last = None
        for lift in (0.0, 0.5, 3.0, 30.0):
            logits = base + torch.tensor([lift, 0.0])
            raised = Outputs(logits, pool.members.outputs.labels, pool.members.outputs.ids)
            scores = attack.score(fitted, Evidence(raised, references=pool.members.references))
            assert last is None or bool((scores >= last).all())
            last = scores

    def test_members_and_nonmembers_are_measured_by_one_rule(self):
        """The same rows on both sides score the same, whoever stands beside them."""
        pool = world(50, references=8, apart=1.0)
        wide = world(50, references=8, apart=1.0, sigma=5.0, seed=1).nonmembers
        both = Pool(pool.members, pool.members)
        for attack in (LiraOnlineAttack(), LiraOfflineAttack()):
            scores = run(attack, both).scores
            assert torch.equal(scores.members, scores.nonmembers)
            swapped = run(attack, Pool(wide, pool.members)).scores
            torch.testing.assert_close(
                run(attack, Pool(pool.members, wide)).scores.members, swapped.nonmembers
            )


class TestEdges:
    @pytest.mark.parametrize("attack", ALL, ids=repr)
    @pytest.mark.parametrize("scale", [1e4, 1e30, 0.0])
    def test_saturated_logits_stay_finite(self, attack, scale):
        draw = generator(0, "saturated")
        sides = []
        for first in (0, 60):
            logits = (torch.randn(60, 3, generator=draw).sign() * scale).float()
            shadows = (torch.randn(6, 60, 3, generator=draw).sign() * scale).float()
            labels = torch.arange(60) % 3
            seen = torch.arange(6)[:, None].expand(6, 60) % 2 == 0
            outputs = Outputs(logits, labels, torch.arange(first, first + 60))
            sides.append(Evidence(outputs, references=References.of(shadows, labels, seen)))
        scores = run(attack, Pool(*sides)).scores
        assert bool(torch.isfinite(torch.cat([scores.members, scores.nonmembers])).all())
        if not scale:
            assert len({*scores.members.tolist(), *scores.nonmembers.tolist()}) == 1

    def test_offline_ranks_where_a_probability_saturates(self):
        odds = torch.tensor([9.0, 12.0, 40.0])
        references = References(
            torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=torch.float64),
            torch.zeros(2, 3, dtype=torch.bool),
        )
        attack = LiraOfflineAttack()
        scores = attack.score(
            attack.survey(references), Evidence(outputs_of(odds), references=references)
        )
        assert bool((scores.diff() > 0).all())

    def test_ratios_keep_apart_where_probabilities_saturate_or_underflow(self):
        attack = RmiaAttack(gamma=1.0, online=True)
        seen = torch.tensor([[True] * 3, [False] * 3])
        for target, said, lowest in (
            # p is 1 − exp(−φ) to first order here, and exp(φ) there.
            ((50.0, 60.0, 70.0), 45.0, math.exp(-45.0) - math.exp(-50.0)),
            ((-990.0, -900.0, -800.0), -1e3, 10.0),
        ):
            # p_in and p_out are the same, and so is their mean.
            references = References(torch.full((2, 3), said, dtype=torch.float64), seen)
            evidence = Evidence(outputs_of(torch.tensor(target)), references=references)
            ratios = attack.fit(Pool(evidence, evidence), seed=0).ratios
            assert bool((ratios.diff() > 0).all())
            assert ratios[0].item() == pytest.approx(lowest, rel=1e-9, abs=0.0)

    @pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
    def test_the_offline_mean_is_the_formula_at_both_ends(self, a):
        odds = torch.tensor([[-2.0, 30.0], [1.0, 33.0], [90.0, -90.0]], dtype=torch.float64)
        seen = torch.tensor([[False, False], [False, False], [True, True]])
        mean = MeanProbability.of(References(odds, seen), online=False).lifted(a)
        p = torch.sigmoid(odds[:2, 0]).mean()
        expected = torch.log(0.5 * ((1 + a) * p + (1 - a)))
        assert mean.log()[0].item() == pytest.approx(expected.item(), rel=1e-12)
        rest = 0.5 * (1 + a) * torch.sigmoid(-odds[:2, 1]).mean()
        assert mean.log()[1].item() == pytest.approx(-rest.item(), rel=1e-9)

    def test_ties_count_for_the_row_at_gamma_1(self):
        pool = world(10, references=4, apart=0.0)
        same = Pool(pool.members, pool.members)
        halves = same.map(lambda e: torch.arange(10) < 5)
        result = RmiaAttack(gamma=1.0)(same, halves=halves, seed=0)
        assert float(result.known.nonmembers.max()) == 1.0
        assert sorted(result.known.nonmembers.tolist()) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])

    def test_blocks_of_rows_do_not_change_the_mean(self, monkeypatch):
        references = world(50, references=8, apart=1.0).members.references
        whole = MeanProbability.of(references, online=True)
        monkeypatch.setattr("safecompress.attacks.rmia._BLOCK", 30)
        for part, all_at_once in zip(
            MeanProbability.of(references, online=True), whole, strict=True
        ):
            torch.testing.assert_close(part, all_at_once, rtol=1e-12, atol=1e-15)

    def test_more_gamma_never_raises_a_score(self):
        pool = world(60, references=6, apart=1.0)
        low, high = (run(RmiaAttack(gamma=g), pool).scores.members for g in (1.0, 3.0))
        assert bool((high <= low).all())


class TestControls:
    def test_imaginary_references_saw_half_of_every_row(self):
        outputs = synthetic_outputs(300, seed=1)
        references = imaginary_references(outputs, seed=2)
        assert set(references.seen.sum(dim=0).tolist()) == {len(references.seen) // 2}
        again = imaginary_references(outputs, seed=2)
        assert torch.equal(references.log_odds, again.log_odds)
        inside = references.log_odds[references.seen].mean()
        assert inside > references.log_odds[~references.seen].mean() + 1

    @pytest.mark.parametrize("attack", ALL, ids=repr)
    def test_every_attack_passes_its_controls(self, attack):
        outputs = synthetic_outputs(400, seed=5)
        assert planted_leak(outputs, attack, seed=0).ok
        assert no_leak(outputs, attack, seed=0).ok

    def test_a_single_class_leaves_nothing_to_say(self):
        outputs = Outputs(
            torch.zeros(300, 1), torch.zeros(300, dtype=torch.long), torch.arange(300)
        )
        with pytest.raises(UndecidableError, match="single class"):
            no_leak(outputs, LiraOnlineAttack(), seed=0)

    def test_a_label_only_attack_must_find_all_of_the_gap(self):
        outputs = synthetic_outputs(1000, seed=5)
        result = planted_leak(outputs, GapAttack(), seed=0)
        assert result.ok
        assert 0.5 < result.least_auc == result.ordinary_auc < 0.75
        assert f"an AUC of {result.least_auc:.3g} or more" in result.message

    def test_a_model_without_mistakes_cannot_test_a_label_only_attack(self):
        plain = synthetic_outputs(400, seed=5)
        sure = plain.logits.scatter_add(1, plain.labels[:, None], torch.full((400, 1), 20.0))
        outputs = Outputs(sure, plain.labels, plain.ids)
        with pytest.raises(UndecidableError, match="wrong on 0 of 400 rows"):
            planted_leak(outputs, GapAttack(), seed=0)
