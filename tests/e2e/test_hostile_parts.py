"""Whole runs with hostile attacks and defenses: none passes, and none ends in a traceback."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress.attacks import ATTACKS
from safecompress.checks import OBJECTIVES, Objective, Status
from safecompress.defenses import DEFENSES
from safecompress.errors import ConfigError, PartError
from safecompress.protocols import Attack, Defense
from safecompress.registry import Part
from safecompress.run.folder import read_history
from tests.small_runs import begin, brisk


def misbehave(does: str) -> Any:
    match does:
        case "raises":
            raise KeyError("planted")
        case "exits":
            raise SystemExit(0)
        case "runs out of memory":
            raise RuntimeError("CUDA out of memory")
    return None


@dataclass(frozen=True)
class HostileAttack(Attack):
    """Does what no attack may do.

    Args:
        does: what it does.
    """

    does: str
    name = "hostile"

    def score(self, fitted: Any, evidence: Any) -> torch.Tensor:
        misbehave(self.does)
        return torch.full((len(evidence.outputs),), math.nan)


class Demanding(HostileAttack):
    requires = "parent"  # type: ignore[assignment]


class HostileDefense(Defense):
    """Does what no defense may do.

    Args:
        does: what it does.
    """

    name = "hostile"

    def __init__(self, *, does: str) -> None:
        self._does = does

    def penalty(self, batch: Any) -> Any:
        misbehave(self._does)
        return batch.logits if self._does == "a vector" else None

    def state(self) -> Any:
        return {"steps": 3} if self._does == "a number" else {}


@dataclass(frozen=True)
class HostileObjective(Objective):
    """Does what no objective may do.

    Args:
        does: what it does.
    """

    does: str

    def rank(self, outcomes: Any) -> Any:
        return misbehave(self.does)


@pytest.fixture(autouse=True)
def published() -> Iterator[None]:
    """Register the made-up parts, and leave out what takes long."""
    with brisk(), pytest.MonkeyPatch.context() as patch:
        patch.setitem(ATTACKS.parts, "hostile", Part("hostile", HostileAttack, "made up"))
        patch.setitem(ATTACKS.parts, "demanding", Part("demanding", Demanding, "made up"))
        patch.setitem(OBJECTIVES.parts, "hostile", Part("hostile", HostileObjective, "made up"))
        patch.setitem(DEFENSES.parts, "hostile", Part("hostile", HostileDefense, "made up"))
        yield


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("raises", "the attack 'hostile' (tests.e2e.test_hostile_parts) raised KeyError"),
        ("exits", "the attack 'hostile' (tests.e2e.test_hostile_parts) raised SystemExit: 0"),
        ("runs out of memory", "out of memory"),
        ("NaN", "scores are NaN"),
    ],
)
def test_a_hostile_attack_costs_candidates_in_the_loop_and_no_run(
    does: str, told: str, tmp_path: Path
) -> None:
    steer = {"proposals": ["rigl"], "attacks": [{"hostile": {"does": does}}]}
    begin(tmp_path / "run", steer=steer)
    history = read_history(tmp_path / "run")
    assert history
    for line in history:
        assert line["status"] == "discarded"
        assert told in line["reason"]


@pytest.mark.parametrize("does", ["raises", "exits", "NaN"])
def test_a_hostile_attack_never_passes_a_check(does: str, tmp_path: Path) -> None:
    measure = {"attack": {"attack": {"hostile": {"does": does}}}}
    checks = {"checks": [{"measure": measure, "condition": {"at_most": 0.9}}]}
    run = begin(tmp_path / "run", verdict=checks)
    assert run.verdict.status is Status.ERROR


def test_what_an_attack_requires_must_be_a_set_of_names(tmp_path: Path) -> None:
    steer = {"proposals": ["rigl"], "attacks": [{"demanding": {"does": "well"}}]}
    with pytest.raises(
        ConfigError, match=r"steer\.attacks\[0\]\.demanding: `requires` of .* is 'par"
    ):
        begin(tmp_path / "run", steer=steer)


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("raises", "raised KeyError: 'planted'; take another, or ask its author"),
        ("exits", "raised SystemExit: 0; take another, or ask its author"),
        ("a vector", "returned the penalty (50, 3); expected a scalar tensor or None"),
        ("a number", "keeps 'steps' in its state as int; expected a tensor"),
    ],
)
def test_a_hostile_defense_is_named(does: str, told: str, tmp_path: Path) -> None:
    steer = {"proposals": ["rigl"], "attacks": ["loss"], "defenses": [{"hostile": {"does": does}}]}
    with pytest.raises(PartError) as error:
        begin(tmp_path / "run", steer=steer)
    who = "the defense 'hostile' (tests.e2e.test_hostile_parts)"
    assert str(error.value).startswith(f"{who} {told}")


@pytest.mark.parametrize("does", ["raises", "exits"])
def test_a_hostile_objective_is_named(does: str, tmp_path: Path) -> None:
    objective = {"hostile": {"does": does}}
    steer = {"proposals": ["rigl", "keep"], "attacks": ["loss"], "objective": objective}
    with pytest.raises(PartError, match=r"steer\.objective: the objective \(tests\..* raised"):
        begin(tmp_path / "run", steer=steer)
