"""The benchmark that times audits next to other tools."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.audit_speed import ROOT, PeerError, Side, Turn, compared, seconds_of
from benchmarks.peers.exercise import Exercise

from safecompress.protocols.odds import log_odds

MEMBERS = np.arange(200) < 100


def turn(cpu: float, scores: np.ndarray) -> Turn:
    return Turn({"a": {"cpu": cpu, "wall": 2 * cpu}}, 1.0, {"a": scores})


def exercise(shadows: np.ndarray, y: np.ndarray) -> Exercise:
    none = np.zeros(len(y), dtype=bool)
    return Exercise(Path(), np.zeros((len(y), 1)), y, none, none, none, shadows[0], shadows, none)


def test_a_ratio_is_the_median_of_turns_that_were_taken_together() -> None:
    # A machine that is ten times slower in one round slows both sides.
    turns = [(turn(1, MEMBERS), turn(4, MEMBERS)), (turn(10, MEMBERS), turn(60, MEMBERS))]
    turns.append((turn(1, MEMBERS), turn(5, MEMBERS)))
    found = seconds_of(turns, ["a"])
    assert found["ratio"] == {"cpu": 5.0, "wall": 5.0}
    assert found["ratios_cpu"] == [4.0, 6.0, 5.0]
    assert found["ours"] == {"cpu": 1.0, "wall": 2.0}
    assert found["peer"]["cpu"] == 5.0


def test_sides_that_rank_alike_do_not_differ_and_rows_only_one_scored_are_left_out() -> None:
    scores = np.random.default_rng(0).normal(size=200) + MEMBERS
    partly = np.exp(scores)
    partly[::4] = np.nan
    (entry,) = compared([(turn(1, scores), turn(1, partly))] * 2, "a", MEMBERS)
    assert entry["difference"] == 0.0
    assert entry["low"] <= 0.0 <= entry["high"]
    assert entry["rows"] == 150


def test_a_side_that_finds_less_is_told_apart() -> None:
    scores = np.random.default_rng(0).normal(size=200) + 2 * MEMBERS
    (entry,) = compared([(turn(1, scores), turn(1, -scores))], "a", MEMBERS)
    assert entry["ours"] == pytest.approx(1 - entry["peer"])
    assert entry["low"] > 0.5


def test_peers_are_given_the_log_odds_that_our_attacks_read() -> None:
    source = np.random.default_rng(0)
    logits = source.normal(scale=3.0, size=(3, 50, 7)).astype(np.float32)
    y = source.integers(7, size=50)
    given = exercise(logits, y)
    ours = [log_odds(torch.from_numpy(z).double(), torch.from_numpy(y)).numpy() for z in logits]
    np.testing.assert_allclose(given.log_odds(logits), np.stack(ours), atol=1e-9)
    np.testing.assert_allclose(given.log_odds(logits[1]), ours[1], atol=1e-9)


def test_a_peer_that_does_not_run_is_named_with_its_error() -> None:
    absent = Side("no_such_tool", sys.executable, ROOT / "src")
    with pytest.raises(PeerError, match=r"no_such_tool: .*No module named"):
        absent.take_turn("scoring", Path("nowhere"), 4, seed=0)
