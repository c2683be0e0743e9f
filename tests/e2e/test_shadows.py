"""A run whose verdict rests on shadow models, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from safecompress import Splits, compress, load_config
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.shadow_models import FOLDER
from safecompress.compression.prepare import prepare
from safecompress.errors import ConfigError
from safecompress.events import Event
from safecompress.protocols import Rows
from safecompress.run.folder import VERDICT
from tests.small_runs import Stopped, begin, brisk, go_on, make_model, result, splits, taught

SHADOWS = {"count": 6, "workers": 1}
ALL_CHECKS: dict[str, Any] = {"verdict": {"checks": []}, "shadows": SHADOWS}


@pytest.fixture(autouse=True)
def _brisk() -> Iterator[None]:
    with brisk():
        yield


def test_the_verdict_asks_the_shadow_models_of_both_kinds(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", **ALL_CHECKS)
    said = json.loads((run.folder / VERDICT).read_text())
    assert "6 shadow models" in said["scope"]
    names = {check["name"] for check in said["checks"]}
    for attack in ("lira-online", "rmia"):
        assert {f"{attack}.auc ≤ 0.6", f"{attack}.auc ≤ dense + 0.02"} <= names
    by_name = {row["name"]: row["attacks"] for row in said["comparison"]}
    assert by_name["dense"]["rmia.auc"]["value"] != by_name["compressed"]["rmia.auc"]["value"]
    # The baseline was made in another way, of which there are no shadow models.
    assert "rmia.auc" not in by_name["magnitude"]


def test_a_verdict_without_them_says_so(tmp_path: Path) -> None:
    run = begin(tmp_path / "run")
    said = json.loads((run.folder / VERDICT).read_text())
    assert "no shadow-model" in said["scope"]
    assert not (run.folder / FOLDER).exists()


def test_stopped_among_the_shadow_models_and_resumed_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Side by side, all of them would end at the same moment.
    monkeypatch.setattr(Cohort, "at_once", lambda self, model=None: 1)
    alone = begin(tmp_path / "alone" / "run", **ALL_CHECKS)

    def stop(event: Event) -> None:
        if event.data.get("stage") == "shadows" and event.data.get("done") == 3:
            raise Stopped("third shadow model")

    with pytest.raises(Stopped):
        begin(tmp_path / "stopped" / "run", on_event=stop, **ALL_CHECKS)
    left = tmp_path / "stopped" / "run"
    trained = {p: p.stat().st_mtime_ns for p in (left / FOLDER).glob("0*.safetensors")}
    assert len(trained) == 3
    resumed = go_on(left)
    assert result(resumed.folder) == result(alone.folder)
    assert {p: p.stat().st_mtime_ns for p in trained} == trained


def test_a_leak_that_no_threshold_sees_is_found(tmp_path: Path) -> None:
    """Labels drawn by lot: a row's own loss says little, its loss among its siblings' a lot."""
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(400, 6, generator=draw)
    # Half of the rows are easy for any model, members or not; the other half is learned by heart.
    easy = torch.arange(400) % 2 == 0
    labels = torch.where(easy, x[:, :3].argmax(1), torch.randint(3, (400,), generator=draw))
    rows = Rows(x, labels, torch.arange(400))
    order = torch.randperm(400, generator=draw)
    noisy = Splits.from_rows(rows.take(order[:200]), rows.take(order[200:]), classes=3, seed=0)
    settings = {
        "model": {"name": "mlp", "options": {"hidden": [64]}},
        "dense": {"epochs": 40, "lr": 0.1, "batch_size": 20, "precision": "32-true"},
        "sparse": {
            "density": 0.5,
            "rounds": 1,
            "train": {"epochs": 4, "lr": 0.05, "batch_size": 20, "precision": "32-true"},
        },
        "steer": {"proposals": ["rigl"], "attacks": ["loss"]},
        "baselines": [],
        "shadows": {"count": 16, "workers": 1},
        "engine": {"threads": 1},
    }
    run = compress(data=noisy, config=settings, out=tmp_path / "run")
    document = run.verdict.document.to_json()
    found = {row["name"]: row["attacks"] for row in document["comparison"]}["dense"]
    assert found["lira-online.auc"]["value"] > found["loss.auc"]["value"] + 0.03
    assert found["rmia.auc"]["value"] > found["loss.auc"]["value"]


def test_weights_trained_elsewhere_have_no_shadow_models() -> None:
    config = load_config({"sparse": {"density": 0.5}, "shadows": {"count": 8}})
    given = splits()
    declared = Splits.from_rows(given.members, given.steer.nonmembers, classes=3, seed=0)
    with pytest.raises(ConfigError, match="given trained"):
        prepare(config, taught(make_model(), declared.members), declared)


def test_two_shadow_models_are_too_few() -> None:
    with pytest.raises(ConfigError, match="at least 4"):
        load_config({"sparse": {"density": 0.5}, "shadows": {"count": 2}})


def test_a_replay_names_proposals_that_are_listed() -> None:
    config = load_config(
        {"sparse": {"density": 0.5}, "steer": {"proposals": ["rigl"], "replay": ["set"]}}
    )
    with pytest.raises(ConfigError, match=r"steer\.replay: 'set' is no proposal"):
        prepare(config, make_model, splits())
