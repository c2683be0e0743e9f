"""Attacks that read references: what they refuse, what they find, and what they do not invent."""

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
from safecompress.attacks.lira import CalibratedAttack, LiraOfflineAttack, LiraOnlineAttack
from safecompress.attacks.rmia import MeanProbability, RmiaAttack
from safecompress.errors import (
    ConfigError,
    DataError,
    MissingEvidenceError,
    NonFiniteError,
    UndecidableError,
)
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References, log_odds
from safecompress.randomness import generator
from safecompress.stats import auc

ONLINE = (
    LiraOnlineAttack(),
    LiraOnlineAttack(variance="per-example"),
    RmiaAttack(gamma=1.0, online=True),
)
OFFLINE = (
    LiraOfflineAttack(),
    LiraOfflineAttack(variance="per-example"),
    RmiaAttack(gamma=1.0, online=False),
)
ALL = (*ONLINE, *OFFLINE, CalibratedAttack())


def outputs_of(odds: torch.Tensor, *, first: int = 0) -> Outputs:
    """Return outputs of two classes, label 0, whose log-odds are `odds`."""
    logits = torch.stack([odds, torch.zeros_like(odds)], dim=1).float()
    n = len(odds)
    return Outputs(logits, torch.zeros(n, dtype=torch.long), torch.arange(first, first + n))


def world(
    n: int, *, references: int, apart: float, sigma: float = 1.0, seed: int = 0
) -> Pool[Evidence]:
    """Return rows whose φ is Gaussian for every model, and `apart` higher for models that saw it.

    Rows differ in how hard they are, which references can tell and a plain loss attack cannot.
    """
    draw = generator(seed, "world")
    sides = []
    for first, shift in ((0, apart), (n, 0.0)):
        hard = torch.randn(n, generator=draw, dtype=torch.float64) * 3.0
        order = torch.rand(references, n, generator=draw).argsort(dim=0)
        seen = order < references // 2
        noise = torch.randn(references, n, generator=draw, dtype=torch.float64)
        said = hard + seen * apart + sigma * noise
        own = hard + shift + sigma * torch.randn(n, generator=draw, dtype=torch.float64)
        sides.append(Evidence(outputs_of(own, first=first), references=References(said, seen)))
    return Pool(*sides)


def run(attack: Attack, pool: Pool[Evidence]):
    halves = pool.map(lambda e: torch.arange(len(e.outputs)) % 2 == 0)
    return attack(pool, halves=halves, seed=0)


def found(attack: Attack, pool: Pool[Evidence]) -> float:
    scores = run(attack, pool).scores
    return auc(scores.members, scores.nonmembers)


def with_seen(pool: Pool[Evidence], seen) -> Pool[Evidence]:
    """Return the evidence with `seen(old)` in place of who saw what."""

    def changed(e: Evidence) -> Evidence:
        return Evidence(
            e.outputs, references=References(e.references.log_odds, seen(e.references.seen))
        )

    return pool.map(changed)


class TestReferences:
    def test_they_are_the_log_odds_of_the_logits(self):
        draw = generator(0, "test")
        logits = torch.randn(3, 7, 4, generator=draw)
        labels = torch.arange(7) % 4
        seen = torch.rand(3, 7, generator=draw) < 0.5
        references = References.of(logits, labels, seen)
        assert references.log_odds.dtype == torch.float64
        for odds, z in zip(references.log_odds, logits, strict=True):
            assert torch.equal(odds, log_odds(z.double(), labels))
        assert torch.equal(references.seen, seen)
        assert len(references) == 7

    def test_blocks_of_rows_change_nothing(self, monkeypatch):
        logits = torch.randn(3, 50, 4, generator=generator(1, "test"))
        labels, seen = torch.arange(50) % 4, torch.zeros(3, 50, dtype=torch.bool)
        whole = References.of(logits, labels, seen)
        monkeypatch.setattr("safecompress.protocols.references._BLOCK", 28)
        assert torch.equal(References.of(logits, labels, seen).log_odds, whole.log_odds)

    @pytest.mark.parametrize("gap", [50.0, 1e4])
    def test_saturated_logits_keep_their_log_odds(self, gap):
        logits = torch.tensor([[[gap, 0.0], [0.0, gap]]])
        references = References.of(
            logits, torch.tensor([0, 0]), torch.zeros(1, 2, dtype=torch.bool)
        )
        assert references.log_odds.tolist() == [[gap, -gap]]

    @pytest.mark.parametrize("index", [[4, 0, 2], [True, False, True, True, False]])
    def test_take_takes_rows(self, index):
        odds = torch.arange(10.0, dtype=torch.float64).reshape(2, 5)
        references = References(odds, odds > 4)
        index = torch.tensor(index)
        taken = references.take(index)
        assert torch.equal(taken.log_odds, odds[:, index])
        assert torch.equal(taken.seen, (odds > 4)[:, index])
        evidence = Evidence(outputs_of(torch.zeros(5)), references=references).take(index)
        assert torch.equal(evidence.references.log_odds, odds[:, index])

    def test_together_puts_rows_side_by_side(self):
        odds = torch.arange(10.0, dtype=torch.float64).reshape(2, 5)
        references = References(odds, odds > 4)
        parts = references.take(torch.arange(2)), references.take(torch.arange(2, 5))
        whole = parts[0].together(parts[1])
        assert torch.equal(whole.log_odds, odds)
        assert torch.equal(whole.seen, odds > 4)
        other = References(odds[:1], odds[:1] > 4)
        with pytest.raises(DataError, match="2 of one group of rows, 1 of the other"):
            references.together(other)

    @pytest.mark.parametrize(
        ("odds", "seen", "message"),
        [
            (torch.zeros(4).double(), torch.zeros(4) > 0, r"log_odds \(4,\)"),
            (torch.zeros(2, 4).double(), torch.zeros(2, 3) > 0, r"seen \(2, 3\)"),
            (torch.zeros(0, 4).double(), torch.zeros(0, 4) > 0, "at least one reference"),
            (torch.zeros(2, 4), torch.zeros(2, 4) > 0, "float32"),
            (torch.zeros(2, 4).double(), torch.zeros(2, 4), "expected torch.float64 and torch.boo"),
        ],
    )
    def test_wrong_shapes_and_types_are_refused(self, odds, seen, message):
        with pytest.raises(DataError, match=message):
            References(odds, seen)

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_numbers_must_be_finite(self, bad):
        odds = torch.zeros(2, 4, dtype=torch.float64)
        odds[1, 2] = bad
        with pytest.raises(NonFiniteError, match="1 of 4 rows"):
            References(odds, torch.zeros(2, 4, dtype=torch.bool))
        logits = torch.zeros(2, 4, 3)
        # A class that cannot be: the label's own log-odds would be finite.
        logits[1, 2, 2] = bad
        with pytest.raises(NonFiniteError, match="1 of 4 rows"):
            References.of(
                logits, torch.zeros(4, dtype=torch.long), torch.zeros(2, 4, dtype=torch.bool)
            )

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (torch.zeros(4, 3), [0, 0, 0, 0], "expected float"),
            (torch.zeros(2, 4, 3), [0, 0, 0], r"labels \(3,\)"),
            (torch.zeros(2, 4, 3, dtype=torch.long), [0, 0, 0, 0], "int64"),
            (torch.zeros(2, 4, 1), [0, 0, 0, 0], "at least 2"),
            (torch.zeros(2, 4, 3), [0, 0, 0, 3], "labels run from 0 to 3"),
            (torch.zeros(2, 4, 3), [-1, 0, 0, 2], "labels run from -1"),
        ],
    )
    def test_wrong_logits_and_labels_are_refused(self, logits, labels, message):
        with pytest.raises(DataError, match=message):
            References.of(logits, torch.tensor(labels), torch.zeros(2, 4, dtype=torch.bool))

    def test_evidence_wants_references_of_the_same_rows(self):
        odds = torch.zeros(2, 4, dtype=torch.float64)
        with pytest.raises(DataError, match="outputs of 5 rows, references of 4"):
            Evidence(outputs_of(torch.zeros(5)), references=References(odds, odds > 0))


class TestWhatTheyRefuse:
    @pytest.mark.parametrize("attack", ALL, ids=repr)
    def test_no_references(self, attack):
        pool = world(20, references=4, apart=1.0)
        bare = pool.map(lambda e: Evidence(e.outputs))
        with pytest.raises(MissingEvidenceError, match="references"):
            run(attack, bare)
        with pytest.raises(MissingEvidenceError, match="references"):
            run(attack, Pool(pool.members, bare.nonmembers))

    @pytest.mark.parametrize("attack", ONLINE, ids=repr)
    def test_rows_that_no_reference_saw(self, attack):
        pool = with_seen(world(20, references=4, apart=1.0), torch.zeros_like)
        with pytest.raises(UndecidableError, match=r"saw.*random half of all rows, or"):
            run(attack, pool)

    @pytest.mark.parametrize("attack", OFFLINE, ids=repr)
    def test_rows_that_no_reference_saw_are_enough_offline(self, attack):
        pool = with_seen(world(400, references=4, apart=0.0), torch.zeros_like)
        assert 0.4 < found(attack, pool) < 0.6

    @pytest.mark.parametrize("attack", ALL, ids=repr)
    def test_rows_that_every_reference_saw(self, attack):
        pool = with_seen(world(20, references=4, apart=1.0), torch.ones_like)
        with pytest.raises(UndecidableError, match=r"more references, each without a random half"):
            run(attack, pool)

    @pytest.mark.parametrize("attack", ALL[:2] + ALL[3:5], ids=repr)
    def test_a_single_reference_has_no_spread(self, attack):
        pool = with_seen(world(20, references=1, apart=1.0), torch.zeros_like)
        with pytest.raises(UndecidableError, match="references"):
            run(attack, pool)

    def test_a_single_row_is_counted(self):
        pool = world(20, references=4, apart=1.0)
        pool.nonmembers.references.seen[:, 7] = False
        with pytest.raises(UndecidableError, match="lira-online: 1 of 40 rows"):
            run(LiraOnlineAttack(), pool)

    def test_one_reference_of_a_kind_does_for_a_fixed_variance_only(self):
        # Each row was seen by one of three references.
        first = torch.arange(3)[:, None] == torch.arange(20) % 3
        pool = with_seen(world(20, references=3, apart=1.0), lambda _: first)
        with pytest.raises(UndecidableError, match="no row has 2 of the 3 references that saw it"):
            run(LiraOnlineAttack(), pool)
        with pytest.raises(UndecidableError, match="fewer than 2 of the 3 references that saw"):
            run(LiraOnlineAttack(variance="per-example"), pool)
        run(LiraOfflineAttack(), pool)
        run(LiraOfflineAttack(variance="per-example"), pool)

    def test_one_reference_does_to_calibrate_and_none_does_not(self):
        pool = with_seen(world(20, references=1, apart=1.0), torch.zeros_like)
        run(CalibratedAttack(), pool)
        with pytest.raises(UndecidableError, match="fewer than 1 of the 1 references"):
            run(CalibratedAttack(), with_seen(pool, torch.ones_like))

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            ({"lira-online": {"variance": "none"}}, "fixed or per-example"),
            ({"lira-offline": {"variance": 3}}, "fixed or per-example"),
            ({"rmia": {"gamma": 0.99}}, "gamma is 0.99"),
            ({"rmia": {"gamma": math.inf}}, "gamma is inf"),
            ({"rmia": {"gamma": math.nan}}, "gamma is nan"),
            ({"rmia": {"a": -0.1}}, "a is -0.1"),
            ({"rmia": {"a": 1.1}}, "a is 1.1"),
        ],
    )
    def test_options_out_of_range(self, request_, message):
        with pytest.raises(ConfigError, match=message):
            ATTACKS.build(request_, where="test")


class TestWhatTheyFind:
    @pytest.mark.parametrize("apart", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("attack", [*ONLINE[:2], *OFFLINE[:2], CalibratedAttack()], ids=repr)
    def test_the_leak_of_gaussians_is_what_theory_says(self, attack, apart):
        """With many references the AUC is Φ(apart / (σ√2)), the best any attack can do."""
        pool = world(1500, references=64, apart=apart)
        best = float(norm.cdf(apart / math.sqrt(2)))
        # Means of 32 references differ a little from the truth; 3,000 rows spread by .01.
        assert best - 0.04 < found(attack, pool) < best + 0.03

    @pytest.mark.parametrize("attack", [ONLINE[2], OFFLINE[2]], ids=repr)
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
        assert 0.5 < result.least_auc == result.auc < 0.75
        assert f"expected an AUC of {result.auc:.3g}" in result.message

    def test_a_model_without_mistakes_cannot_test_a_label_only_attack(self):
        plain = synthetic_outputs(400, seed=5)
        sure = plain.logits.scatter_add(1, plain.labels[:, None], torch.full((400, 1), 20.0))
        outputs = Outputs(sure, plain.labels, plain.ids)
        with pytest.raises(UndecidableError, match="wrong on 0 of 200 rows"):
            planted_leak(outputs, GapAttack(), seed=0)
