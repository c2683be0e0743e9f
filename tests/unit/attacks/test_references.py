"""`References`, and the evidence without which attacks that read references refuse to run."""

from __future__ import annotations

import math

import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.lira import CalibratedAttack, LiraOfflineAttack, LiraOnlineAttack
from safecompress.errors import (
    ConfigError,
    DataError,
    MissingEvidenceError,
    NonFiniteError,
    UndecidableError,
)
from safecompress.protocols import Evidence, Pool, References, log_odds
from safecompress.randomness import generator
from tests.unit.attacks.worlds import (
    ALL,
    OF_SPREAD,
    OFFLINE,
    ONLINE,
    found,
    outputs_of,
    run,
    with_seen,
    world,
)


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
        monkeypatch.setattr("safecompress.protocols.blocks._BLOCK", 28)
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

    @pytest.mark.parametrize("attack", OF_SPREAD, ids=repr)
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
            ({"bavaria-online": {"predictive": "t"}}, "student or gaussian"),
            ({"bavaria-offline": {"predictive": 2}}, "student or gaussian"),
            ({"informia": {"divergence": "row"}}, "answer or population"),
            ({"informia": {"a": math.nan}}, "a is nan"),
        ],
    )
    def test_options_out_of_range(self, request_, message):
        with pytest.raises(ConfigError, match=message):
            ATTACKS.build(request_, where="test")
