"""Verdicts by class and group: models of unequal classes, from files, tables and runs."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from pytest_safecompress import assert_safe
from safecompress import Limits, audit, compress, splits_from_arrays
from safecompress.config import DataConfig
from safecompress.errors import ConfigError, DataError
from safecompress.run.folder import read_history
from safecompress.verdicts.read import read_verdict
from tests.recorded_outputs import Arrays, arrays, code, run, saved

HALF = 3000


def churn(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return customers of whom 6 % leave, which their columns say little about."""
    x, y = make_classification(
        2 * HALF, 12, n_informative=5, weights=[0.94], flip_y=0.02, class_sep=0.6, random_state=seed
    )
    return x, y


def recorded(model: Any, x: np.ndarray, y: np.ndarray) -> Arrays:
    return {
        "member_logits": model.predict_proba(x[:HALF]),
        "member_labels": y[:HALF],
        "nonmember_logits": model.predict_proba(x[HALF:]),
        "nonmember_labels": y[HALF:],
    }


MODELS = {
    "forest": RandomForestClassifier(60, min_samples_leaf=2, random_state=0),
    "boosting": HistGradientBoostingClassifier(max_iter=60, random_state=0),
}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_churners_that_leak_fail_the_model_and_are_named(tmp_path: Path, name: str) -> None:
    x, y = churn()
    model = MODELS[name].fit(x[:HALF], y[:HALF])
    found = recorded(model, x, y)
    result = audit(saved(tmp_path, found), out=tmp_path / "out")
    verdict, document = result.verdict, result.verdict.document
    sides = ("member", "nonmember")
    true_class = [
        found[f"{s}_logits"][np.arange(HALF), found[f"{s}_labels"]].astype(float) for s in sides
    ]
    of_class = [p[found[f"{s}_labels"] == 1] for p, s in zip(true_class, sides, strict=True)]
    own = roc_auc_score(
        np.r_[np.ones(len(of_class[0])), np.zeros(len(of_class[1]))], np.concatenate(of_class)
    )
    assert own > 0.75
    assert document.leak is not None
    worst = document.leak.worst_group
    assert worst is not None
    assert (worst.by, worst.name) == ("class", "1")
    assert worst.auc == pytest.approx(own, abs=0.02)
    check = next(c for c in verdict.checks if c.name == "class.auc ≤ 0.6")
    assert verdict.status == check.status == "FAIL"
    assert "Worst in class 1: AUC" in verdict.sentence
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    table = page.split("The leak by class")[1].split("</table>")[0]
    assert '<tr class="row-fail"><th scope="row">1 <span class="badge fail">' in table
    assert read_verdict(tmp_path / "out" / "verdict.json") == document


@pytest.mark.parametrize("share", [0.01, 0.03, 0.05, 0.08, 0.12])
def test_a_class_whose_members_are_all_exposed_is_no_pass(tmp_path: Path, share: float) -> None:
    draw = np.random.default_rng(0)
    found: Arrays = {}
    for side, rare in (("member", 3), ("nonmember", -3)):
        y = (draw.random(5000) < share).astype(int)
        z = np.where(y == 1, -draw.normal(rare, 1, 5000), draw.normal(3, 1, 5000))
        found |= {f"{side}_logits": np.stack([z, 0 * z], 1), f"{side}_labels": y}
    path = saved(tmp_path, found)
    assert audit(path).verdict.status == "FAIL"
    with pytest.raises(AssertionError, match=r"class.auc ≤ 0.6"):
        assert_safe(path)


def test_a_class_of_too_few_rows_warns_or_leaves_the_verdict_open(tmp_path: Path) -> None:
    path = saved(tmp_path, arrays(400))
    usual = audit(path, limits=Limits(max_auc=0.7))
    check = next(c for c in usual.verdict.checks if c.name.startswith("class.auc"))
    assert (usual.verdict.status, check.status, check.decided) == ("PASS", "WARN", False)
    assert "too few rows to settle: class" in check.message
    assert code(run(path, "--max-auc", 0.7, "--max-group-auc", 0.7, "--out", tmp_path / "a")) == 3
    assert code(run(path, "--max-auc", 0.7, "--max-group-auc", 1, "--out", tmp_path / "b")) == 0
    with pytest.raises(ConfigError, match=r"max_group_auc is 0\.2"):
        Limits(max_group_auc=0.2)


def with_regions(leak: float) -> Arrays:
    """Return outputs in which the members of one region in twenty stand out."""
    found, draw = arrays(3000), np.random.default_rng(5)
    for side in ("member", "nonmember"):
        region = draw.choice(["north", "south", "west"], 3000, p=[0.7, 0.24, 0.06])
        found[f"{side}_group_region"] = region
        if side == "member":
            logits, labels = found["member_logits"], found["member_labels"]
            logits[np.arange(3000), labels] += leak * (region == "west")
    return found


def test_a_region_that_leaks_fails_by_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path, with_regions(6.0))
    result = run(path, "--group-by", "region", "--out", tmp_path / "out")
    assert code(result) == 1
    document = json.loads((tmp_path / "out" / "verdict.json").read_text())
    failed = [c["name"] for c in document["checks"] if c["status"] == "FAIL"]
    assert [name for name in failed if ".auc ≤ 0.6" in name] == ["group:region.auc ≤ 0.6"]
    assert document["leak"]["groups"][0]["name"] == "west"
    assert "Worst in region west" in document["sentence"]
    assert code(run(path, "--group-by", "regoin", "--out", tmp_path / "b")) == 2
    assert code(run(saved(tmp_path, with_regions(0.0), "none"), "--out", tmp_path / "c")) == 0


def test_groups_are_given_in_python_by_value_and_by_column() -> None:
    x, y = churn()
    frame = pd.DataFrame(x[:, :4], columns=list("abcd"))
    frame["plan"] = np.where(np.arange(2 * HALF) % 10 == 0, 1.0, 0.0)
    model = RandomForestClassifier(30, min_samples_leaf=20, random_state=0)
    model.fit(frame[:HALF].to_numpy(), y[:HALF])
    columns = {name: np.array(frame[name]) for name in frame}
    sides = tuple(
        ({name: values[at] for name, values in columns.items()}, y[at])
        for at in (slice(HALF), slice(HALF, None))
    )

    def ask(**given: Any) -> Any:
        return model.predict_proba(np.stack([given[c].numpy() for c in columns], 1))

    by_column = audit(ask, sides, group_by=["plan"])
    plan = frame["plan"].to_numpy()
    by_value = audit(ask, sides, groups={"plan": (plan[:HALF], plan[HALF:])})
    checks = [
        next(c for c in found.verdict.checks if c.name == "group:plan.auc ≤ 0.6")
        for found in (by_column, by_value)
    ]
    assert checks[0].estimate.value == checks[1].estimate.value
    with pytest.raises(DataError, match="group_by names 'tariff'"):
        audit(ask, sides, group_by=["tariff"])


def table(folder: Path, n: int = 1600) -> dict[str, Any]:
    draw = np.random.default_rng(3)
    frame = pd.DataFrame(draw.normal(size=(n, 4)), columns=list("abcd"))
    frame["region"] = draw.choice(["north", "south"], n, p=[0.8, 0.2])
    frame["label"] = np.where(frame["a"] + 0.5 * draw.normal(size=n) > 1, "yes", "no")
    frame.to_csv(folder / "rows.csv", index=False)
    return {"source": "csv", "path": str(folder / "rows.csv"), "drop": ["region"]}


def test_a_run_is_judged_by_a_dropped_column_and_audited_by_it(tmp_path: Path) -> None:
    train = {"epochs": 3, "lr": 0.05, "batch_size": 50, "precision": "32-true"}
    config = {
        "data": {"source": table(tmp_path)},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "sparse": {"density": 0.5, "rounds": 1, "settle_epochs": 0.5, "train": train},
        "steer": {"proposals": ["rigl"], "worth": "balanced-accuracy"},
        "verdict": {"group_by": ["region"]},
        "engine": {"threads": 1},
    }
    done = compress(config=config, out=tmp_path / "run")
    document = done.verdict.document
    names = {c.name for c in document.checks}
    assert {
        "class.auc ≤ 0.6",
        "group:region.auc ≤ 0.6",
        "balanced-accuracy ≥ dense − 0.05",
    } <= names
    assert document.model.worth == "balanced-accuracy"
    assert {c.name for c in document.by_class} == {"no", "yes"}
    assert document.leak is not None
    assert {g.name for g in document.leak.groups} <= {"north", "south"}
    tested = [r for r in read_history(tmp_path / "run") if r.get("status") == "ok"]
    assert tested
    assert all("balanced-accuracy" in r["measures"] for r in tested)
    again = audit(tmp_path / "run", group_by=["a"])
    assert {"group:region.auc ≤ 0.6", "group:a.auc ≤ 0.6"} <= {c.name for c in again.verdict.checks}


def test_splits_in_memory_know_their_groups_and_a_run_asks_for_them(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 4)).astype("float32")
    y, region = (x[:, 0] > 0).astype(int), draw.choice(["n", "s"], 600)
    config = {"sparse": {"density": 0.5, "rounds": 0}, "verdict": {"group_by": ["region"]}}
    with pytest.raises(ConfigError, match="hold no groups by 'region'"):
        compress(lambda: nn.Linear(4, 2), splits_from_arrays(x, y, seed=0), config=config)
    splits = splits_from_arrays(x, y, seed=0, groups={"region": region})
    found = splits.groups_of(splits.steer)
    for rows, groups in (
        (splits.steer.members, found.members),
        (splits.steer.nonmembers, found.nonmembers),
    ):
        column = groups["region"]
        assert [column.names[c] for c in column.codes] == list(region[rows.ids.numpy()])
    with pytest.raises(DataError, match="599"):
        splits_from_arrays(x, y, seed=0, groups={"region": region[:599]})


def test_rows_of_a_table_are_grouped_by_a_column_that_is_no_input(
    tmp_path: Path,
) -> None:
    source = table(tmp_path)
    members = tmp_path / "members.txt"
    members.write_text("\n".join(map(str, range(800))))
    data = DataConfig.model_validate(
        {
            "source": source,
            "split": {"membership": "index", "members_file": str(members)},
            "preprocessing": {"features": "none"},
        }
    )
    found = audit(
        lambda x: np.stack([0 * x[:, 0], x[:, 0] - 1], 1),
        data,
        group_by=["region"],
        classes=["no", "yes"],
    )
    assert "group:region.auc ≤ 0.6" in {c.name for c in found.verdict.checks}
    assert found.verdict.status in {"PASS", "INCONCLUSIVE"}
