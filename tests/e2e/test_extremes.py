"""Unusual data, from rows to report: the run ends in a verdict, and every figure is a number."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safecompress import Splits, compress, splits_from_arrays
from safecompress.attacks import blind
from safecompress.errors import DataError, ModelError
from safecompress.protocols import Rows
from safecompress.run.folder import FIGURES, REPORT, VERDICT, read_history

TRAIN = {"epochs": 1, "lr": 0.05, "batch_size": 50, "precision": "32-true"}
ATTACKS = ["loss", "confidence", "entropy", "modified-entropy", "neural"]
SETTINGS: dict[str, Any] = {
    "sparse": {"density": 0.5, "rounds": 1, "settle_epochs": 0.5, "train": TRAIN},
    "steer": {"proposals": ["rigl", "set"], "attacks": ATTACKS},
    "baselines": [],
    "engine": {"threads": 1},
}


@pytest.fixture(autouse=True)
def _one_blind_classifier() -> Iterator[None]:
    """Boosting is slow, and not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        every = blind._classifiers
        patch.setattr(blind, "_classifiers", lambda seed: {"logistic": every(seed)["logistic"]})
        yield


def rows(n: int = 480, width: int = 6) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0))


def numbers(value: Any) -> Iterator[float]:
    """Yield every number in a JSON document."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield float(value)


def verdict_of(splits: Splits, folder: Path, model: Any = None, **changes: Any) -> dict[str, Any]:
    """Run to the end and return the verdict, once everything in the folder has been looked at."""
    width = splits.input_shape[0]
    compress(
        model or (lambda: nn.Linear(width, splits.classes)),
        splits,
        config=SETTINGS | changes,
        out=folder,
    )
    for line in read_history(folder):
        assert line["status"] == "ok" or line["reason"].startswith("the same as ")
    assert (folder / REPORT).stat().st_size < 1_000_000
    for name in (VERDICT, FIGURES):
        assert all(map(math.isfinite, numbers(json.loads((folder / name).read_text()))))
    document: dict[str, Any] = json.loads((folder / VERDICT).read_text())
    assert document["verdict"] in {"PASS", "FAIL", "INCONCLUSIVE"}
    assert not [c["name"] for c in document["checks"] if c["status"] == "ERROR"]
    return document


def test_two_classes(tmp_path: Path) -> None:
    x = rows()
    verdict_of(splits_from_arrays(x, (x[:, 0] > 0).long(), seed=0), tmp_path / "run")


def test_a_single_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least two classes"):
        splits_from_arrays(rows(), torch.zeros(480, dtype=torch.int64), seed=0)


def test_a_single_feature(tmp_path: Path) -> None:
    x = rows(width=1)
    verdict_of(splits_from_arrays(x, (x[:, 0] > 0).long(), seed=0), tmp_path / "run")


def test_classes_with_a_single_row(tmp_path: Path) -> None:
    x = rows()
    y = x[:, :3].argmax(dim=1)
    y[:40] = torch.arange(3, 43)
    verdict_of(splits_from_arrays(x, y, seed=0), tmp_path / "run")


def test_classes_that_only_members_or_only_non_members_have(tmp_path: Path) -> None:
    x = rows(1200)
    y = x[:, :3].argmax(dim=1)
    y[[0, 1]], y[[-1, -2]] = 3, 4
    splits = splits_from_arrays(
        x[:600], y[:600], test=(x[600:], y[600:]), split={"membership": "pair"}, seed=0
    )
    assert splits.report.classes_without_members == ("4",)
    verdict_of(splits, tmp_path / "run")


@pytest.mark.parametrize("members", [20, 460])
def test_very_different_numbers_of_members_and_non_members(members: int, tmp_path: Path) -> None:
    x = rows()
    splits = splits_from_arrays(x, x[:, :3].argmax(dim=1), seed=0, split={"members": members})
    document = verdict_of(splits, tmp_path / "run")
    assert document["verdict"] == "INCONCLUSIVE", "20 rows decide nothing"


class Saying(nn.Module):
    """Says its bounded logits times a factor, once it is not in training any more."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(6, 3), factor

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layer(x)
        return logits if self.training else torch.tanh(logits) * self.factor


@pytest.mark.parametrize("factor", [0.0, 1e-30, 1e30, torch.finfo(torch.float32).max])
def test_constant_and_enormous_outputs(factor: float, tmp_path: Path) -> None:
    x = rows()
    splits = splits_from_arrays(x, x[:, :3].argmax(dim=1), seed=0)
    verdict_of(splits, tmp_path / "run", lambda: Saying(factor))


def test_logits_beyond_fp32_are_refused_before_any_training(tmp_path: Path) -> None:
    class Overflowing(Saying):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (1.0 if self.training else 1e9)

    x = rows()
    splits = splits_from_arrays(x, x[:, :3].argmax(dim=1), seed=0)
    with pytest.raises(ModelError, match="not finite numbers in evaluation mode"):
        compress(lambda: Overflowing(1e30), splits, config=SETTINGS, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ten_thousand_classes(tmp_path: Path) -> None:
    """Most classes have no member, no class has two rows, and every row has 10,000 logits."""
    ids = torch.arange(1200)
    labels = ids * 8
    labels[-1] = 9_999
    groups = [Rows(rows(1200, 16)[i], labels[i], ids[i]) for i in (ids[:600], ids[600:])]
    splits = Splits.from_rows(*groups, classes=10_000, seed=0)
    folder = tmp_path / "run"
    document = verdict_of(splits, folder)
    assert document["model"]["parameters"] == 17 * 10_000
    text = [p for p in folder.iterdir() if p.suffix in {".json", ".jsonl", ".html", ".xml"}]
    assert sum(p.stat().st_size for p in text) < 2_000_000
