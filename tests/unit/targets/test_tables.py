"""Data frames, texts and sparse matrices reach a model as they are, and the controls as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from safecompress import audit, record
from safecompress.errors import ConfigError, DataError, ModelError
from safecompress.protocols import Pool
from safecompress.targets.tables import RowTable, columns_as_numbers

ROWS = 600


def words(draw: np.random.Generator, n: int) -> list[str]:
    return [" ".join(f"w{i}" for i in draw.integers(0, 50, 8)) for _ in range(n)]


def table() -> tuple[Any, np.ndarray]:
    pandas = pytest.importorskip("pandas")
    draw = np.random.default_rng(0)
    n = 2 * ROWS
    frame = pandas.DataFrame(
        {
            "age": draw.integers(18, 90, n),
            "income": draw.gamma(4, 12, n),
            "plan": pandas.Categorical(draw.choice(["basic", "plus", "pro"], n)),
            "region": draw.choice(["north", "south"], n),
            "since": pandas.Timestamp("2020-01-01") + pandas.to_timedelta(draw.integers(0, 900, n)),
            "score": pandas.array(np.where(draw.random(n) < 0.1, None, 3), dtype="Int64"),
            "member": draw.random(n) < 0.5,
        },
        index=draw.permutation(n) + 7,
    )
    return frame, np.array(["stayed", "churned"])[(draw.random(n) < 0.4).astype(int)]


def pipeline(model: Any) -> Any:
    columns = ColumnTransformer(
        [("n", StandardScaler(), ["age", "income"]), ("c", OneHotEncoder(), ["plan", "region"])]
    )
    return make_pipeline(columns, model)


def test_a_pipeline_over_a_data_frame_is_audited_as_it_is() -> None:
    frame, y = table()
    model = pipeline(DecisionTreeClassifier(random_state=0)).fit(frame[:ROWS], y[:ROWS])
    data = (frame[:ROWS], y[:ROWS]), (frame[ROWS:], y[ROWS:])
    recorded = record(model, *data)
    assert recorded.class_names == ("churned", "stayed")
    for side, part in (("members", frame[:ROWS]), ("nonmembers", frame[ROWS:])):
        probabilities = getattr(recorded.outputs, side).logits.softmax(dim=1).numpy()
        # A probability of 0 stands for a small one.
        np.testing.assert_allclose(probabilities, model.predict_proba(part), atol=2e-3)
    found = audit(model, data)
    assert found.verdict.status == "FAIL"
    assert found.verdict.document.to_json()["model"]["accuracy"] < 0.65
    blind = next(c for c in found.verdict.checks if c.name == "control: blind baseline")
    assert blind.status == "PASS"
    assert "inputs and labels" in blind.message
    assert audit(recorded).verdict.sentence == found.verdict.sentence


def test_a_callable_gets_batches_of_the_frame_with_its_types_and_index() -> None:
    frame, _ = table()
    seen: list[Any] = []

    def model(rows: Any) -> np.ndarray:
        seen.append(rows)
        return np.stack([rows["age"], rows["income"]], axis=1)

    record(model, (frame[:ROWS], np.arange(ROWS) % 2), (frame[ROWS:], np.arange(ROWS) % 2))
    got = [batch for batch in seen if len(batch) > 32]
    assert [len(batch) for batch in got] == [512, 88, 512, 88]
    pandas = pytest.importorskip("pandas")
    pandas.testing.assert_frame_equal(pandas.concat(got), frame)


def test_groups_that_a_column_tells_apart_are_found_without_the_model() -> None:
    frame, _ = table()
    middle = frame["age"].median()
    y = (frame["age"] > middle).to_numpy().astype(int)

    def model(rows: Any) -> np.ndarray:
        return np.stack([np.cos(rows["income"]), (rows["age"] - middle) / 10], axis=1)

    def blind(changed: Any) -> str:
        data = (changed[:ROWS], y[:ROWS]), (changed[ROWS:], y[ROWS:])
        checks = audit(model, data).verdict.checks
        return str(next(c for c in checks if c.name == "control: blind baseline").status)

    late, other, gaps = frame.copy(), frame.copy(), frame.copy()
    late.iloc[ROWS:, late.columns.get_loc("since")] += np.timedelta64(400, "D")
    other["region"] = np.where(np.arange(2 * ROWS) < ROWS, "north", other["region"])
    gaps.iloc[: ROWS // 2, gaps.columns.get_loc("score")] = None
    assert blind(frame) == "PASS"
    assert [blind(changed) for changed in (late, other, gaps)] == ["ERROR"] * 3


@pytest.mark.parametrize("form", [list, tuple, np.array, lambda t: np.array(t, object)])
def test_texts_reach_a_pipeline_as_texts(form: Any) -> None:
    draw = np.random.default_rng(0)
    texts, y = words(draw, 2 * ROWS), draw.integers(0, 2, 2 * ROWS)
    model = make_pipeline(CountVectorizer(), LogisticRegression(C=100)).fit(texts[:ROWS], y[:ROWS])
    recorded = record(model, (form(texts[:ROWS]), y[:ROWS]), (form(texts[ROWS:]), y[ROWS:]))
    probabilities = recorded.outputs.members.logits.softmax(dim=1).numpy()
    np.testing.assert_allclose(probabilities, model.predict_proba(texts[:ROWS]), atol=1e-6)
    assert audit(recorded).verdict.status != "ERROR"


def test_texts_of_other_words_are_found_without_the_model() -> None:
    draw = np.random.default_rng(0)
    texts, y = words(draw, 2 * ROWS), np.arange(2 * ROWS) % 2
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, y)
    changed = [f"{t} foreign" if draw.random() < 0.3 else t for t in texts[ROWS:]]
    found = audit(model, ((texts[:ROWS], y[:ROWS]), (changed, y[ROWS:])))
    assert found.verdict.status == "ERROR"


@pytest.mark.parametrize(("width", "density"), [(300, 0.05), (40_000, 0.005)])
def test_sparse_matrices_stay_sparse(width: int, density: float) -> None:
    x = sparse.random(2 * ROWS, width, density=density, random_state=0, format="coo").tocsc()
    y = np.arange(2 * ROWS) % 2
    model = LogisticRegression(C=1000).fit(x[:ROWS], y[:ROWS])
    recorded = record(model, (x[:ROWS], y[:ROWS]), (x[ROWS:], y[ROWS:]))
    expected = model.predict_proba(x[:ROWS])
    np.testing.assert_allclose(
        recorded.outputs.members.logits.softmax(dim=1).numpy(), expected, atol=1e-6
    )
    assert audit(recorded).verdict.status == "FAIL"


def test_attacks_that_ask_about_points_say_that_a_table_has_none() -> None:
    texts, y = words(np.random.default_rng(0), 400), np.arange(400) % 2
    model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(texts, y)
    data = (texts[:200], y[:200]), (texts[200:], y[200:])
    recorded = record(model, *data)
    assert recorded.evidence.members.target is None
    checks = audit(model, data, attacks=["augmentation"]).verdict.checks
    named = next(c for c in checks if c.name.startswith("augmentation.auc"))
    assert named.status == "NOT_RUN"
    with pytest.raises(ConfigError, match="white_box"):
        record(model, *data, white_box=True)
    assert audit(model, data, attacks=["quantile"]).verdict.status != "ERROR"
    assert audit(model, data, time_budget=30).verdict.status != "ERROR"


def test_a_module_takes_a_frame_of_numbers_and_no_texts() -> None:
    frame, _ = table()
    y = np.arange(ROWS) % 2
    net = nn.Linear(2, 2)
    numbers = frame[["age", "income"]]
    recorded = record(net, (numbers[:ROWS], y), (numbers[ROWS:], y))
    rows = torch.as_tensor(numbers[:ROWS].to_numpy(), dtype=torch.float32)
    torch.testing.assert_close(recorded.outputs.members.logits, net(rows))
    with pytest.raises(ModelError, match="no numbers"):
        record(net, (frame[:ROWS], y), (frame[ROWS:], y))


def test_tables_of_other_columns_are_refused() -> None:
    frame, _ = table()
    y = np.arange(ROWS) % 2
    for other in (frame[ROWS:].drop(columns="age"), frame[ROWS:][frame.columns[::-1]]):
        with pytest.raises(DataError, match="the same columns in the same order"):
            record(len, (frame[:ROWS], y), (other, y))
    with pytest.raises(DataError, match="the same columns"):
        record(len, (["a"] * ROWS, y), (np.zeros((ROWS, 2)), y))


def test_equal_cells_get_equal_numbers_in_both_groups_and_others_do_not() -> None:
    left = RowTable(np.array([["a b", 1, None], ["a c", 2.5, "x"], ["", 1, "x"]] * 3, object))
    right = RowTable(left.content[::-1])
    found = columns_as_numbers(Pool(left, right))
    assert isinstance(found.members, dict)
    assert isinstance(found.nonmembers, dict)
    for name in ("numbers", "tokens"):
        assert torch.equal(found.members[name], found.nonmembers[name].flip(0))
    assert found.members["numbers"].flatten().tolist() == [1, 2.5, 1] * 3
    tokens = found.members["tokens"]
    assert len({tuple(row.tolist()) for row in tokens}) == 3
    assert bool((tokens >= 0).all())
    assert bool((tokens < 2**31).all())
