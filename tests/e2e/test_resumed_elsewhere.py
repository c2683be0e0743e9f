"""A run that goes on under other versions says so, and a link to a run has its count of looks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from safecompress.events import Event
from safecompress.run.folder import PROVENANCE, ledger_of
from tests.small_runs import Stopped, begin, go_on, stopping_at

pytestmark = pytest.mark.usefixtures("brisk_runs")


def test_other_versions_are_told_and_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Stopped):
        begin(folder, stopping_at("candidate", 1))
    path = folder / PROVENANCE
    begun = json.loads(path.read_text()) | {"torch": "2.0.0", "python": "3.11.0"}
    path.write_text(json.dumps(begun))
    events: list[Event] = []
    stop = stopping_at("candidate", 3)

    def listen(event: Event) -> None:
        events.append(event)
        stop(event)

    with pytest.raises(Stopped):
        go_on(folder, listen)
    go_on(folder, events.append)
    told = [event.text for event in events if "resumed with other versions" in event.text]
    assert len(told) == 1, "the second resumption is like the first"
    assert "torch 2.0.0 → " in told[0]
    assert "python 3.11.0 → " in told[0]
    recorded = json.loads(path.read_text())
    assert recorded["torch"] == "2.0.0"
    (resumed,) = recorded["resumed_with"]
    assert resumed["torch"] != "2.0.0"
    assert resumed["numpy"] == recorded["numpy"]


def test_a_link_to_a_run_shares_its_count_of_looks(tmp_path: Path) -> None:
    (tmp_path / "runs" / "one").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / "one"
    link.symlink_to(tmp_path / "runs" / "one")
    assert ledger_of(link) == ledger_of(tmp_path / "runs" / "one")
