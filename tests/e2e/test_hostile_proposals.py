"""Whole runs with proposals that break their contract: each is discarded, and the run goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from safecompress.candidate import UNCHANGED, Candidate
from safecompress.proposals import PROPOSALS, rigl
from safecompress.protocols import Proposal, ProposalContext
from safecompress.registry import Part
from safecompress.run.folder import MODEL, VERDICT, read_history
from safecompress.run.model_file import read_model
from tests.hostile_proposals import BREACHES, CRASHES, Hostile
from tests.small_runs import begin, brisk

STEER = {"search": "every-round", "attacks": ["loss"]}


@dataclass(frozen=True)
class Renamed(Proposal):
    """RigL under a name that says something else, with a lineage of its own.

    Args:
        called: its name.
        fails_before: progress until which it raises.
    """

    called: str
    fails_before: float = 0.0
    requires: frozenset[str] = field(default=frozenset({"gradient"}), init=False)

    @property
    def name(self) -> str:
        return self.called

    def __call__(self, parent: Candidate, context: ProposalContext) -> Candidate:
        if context.progress < self.fails_before:
            raise LookupError("not yet")
        return rigl()(parent, context).evolve(lineage=("keep", "student", self.called))


@pytest.fixture(autouse=True)
def published() -> Iterator[None]:
    """Register the made-up proposals, and leave out what takes long."""
    with brisk(), pytest.MonkeyPatch.context() as patch:
        for name, factory in (("hostile", Hostile), ("renamed", Renamed)):
            patch.setitem(PROPOSALS.parts, name, Part(name, factory, "made up"))
        yield


def test_no_hostile_proposal_changes_what_the_others_come_to(tmp_path: Path) -> None:
    hostile = [{"hostile": {"does": does}} for does in (*BREACHES, *CRASHES)]
    begin(tmp_path / "alone", steer=STEER | {"proposals": ["rigl", "keep"]})
    begin(tmp_path / "among", steer=STEER | {"proposals": ["rigl", *hostile, "keep"]})
    history = read_history(tmp_path / "among")
    bad = [line for line in history if line["proposal"].startswith("hostile")]
    assert len(bad) == 2 * len(hostile)
    for line in bad:
        assert line["status"] == "discarded"
        assert line["reason"].startswith(f"the proposal '{line['proposal']}' (tests.hostile")
        assert not line["selected"]
    outcomes = [
        [(line["proposal"], line["status"], line["measures"], line["selected"]) for line in lines]
        for lines in (read_history(tmp_path / "alone"), [x for x in history if x not in bad])
    ]
    assert outcomes[0] == outcomes[1]
    assert read_model(tmp_path / "among" / MODEL).topology.density == 0.5
    alone, among = ((tmp_path / run / MODEL).read_bytes() for run in ("alone", "among"))
    assert alone == among


@pytest.mark.parametrize("does", ["dense", "NaN", "ValueError", "changes weights in place"])
@pytest.mark.parametrize("updates", [1, 2])
def test_where_every_proposal_is_hostile_the_first_mask_stays(
    does: str, updates: int, tmp_path: Path
) -> None:
    proposals = [{"hostile": {"does": does, "updates": updates}}]
    run = begin(tmp_path / "run", steer=STEER | {"proposals": proposals})
    assert {line["status"] for line in read_history(run.folder)} == {"discarded"}
    document = json.loads((run.folder / VERDICT).read_text())
    assert document["model"]["density"] == 0.5
    assert document["model"]["lineage"] == [UNCHANGED] * 2


def test_a_lineage_is_what_the_loop_applied_and_replays_to_the_same_model(tmp_path: Path) -> None:
    proposals = [{"renamed": {"called": "my student int8", "fails_before": 0.5}}]
    run = begin(tmp_path / "run", steer=STEER | {"proposals": proposals})
    lineage = read_model(run.folder / MODEL).metadata["lineage"]
    assert lineage == [UNCHANGED, "my student int8"]
    replay = STEER | {"proposals": [*proposals, "keep"], "replay": lineage}
    again = begin(tmp_path / "again", steer=replay)
    assert (run.folder / MODEL).read_bytes() == (again.folder / MODEL).read_bytes()


def test_two_updates_of_one_round_are_one_entry_of_the_lineage(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", steer=STEER | {"proposals": [{"set": {"updates": 2}}]})
    assert read_model(run.folder / MODEL).metadata["lineage"] == ["set x2"] * 2
