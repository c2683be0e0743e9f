"""Classes and groups in the report: the color of a limit, the recall of each class."""

from __future__ import annotations

from typing import Any

import pytest

from safecompress.report.view_leak import leak
from safecompress.report.view_recall import recalls


def entry(low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"name": "left", "auc": (low + high) / 2, "low": low, "high": high, **more}


@pytest.mark.parametrize(
    ("low", "high", "css"),
    [(0.61, 0.7, "fail"), (0.5, 0.6, "pass"), (0.55, 0.65, "inconclusive"), (None, 0.6, None)],
)
def test_a_group_has_the_color_of_its_limit(low: Any, high: float, css: str | None) -> None:
    shown = {"name": "left", "auc": 0.6, "low": low, "high": high}
    found = leak({"leak": {"classes": [shown], "groups": [shown | {"by": "plan"}], "limit": 0.6}})
    for row in (*found.classes, *found.groups):
        assert (row.badge.css if row.badge else None) == css
    assert [found.classes[0].name, found.groups[0].name] == ["left", "plan left"]
    assert leak({"leak": {"classes": [entry(0.7, 0.9)]}}).classes[0].badge is None


def test_recall_is_shown_beside_the_dense_model_where_there_is_one() -> None:
    span = {"value": 0.13, "low": 0.08, "high": 0.2}
    alone = {"label": 1, "name": "left", "rows": 180, "recall": span}
    both = alone | {"dense": span | {"value": 0.64}, "difference": span | {"value": -0.5}}
    assert not recalls({"by_class": [alone]}).compared
    (row,) = recalls({"by_class": [both]}).rows
    assert (row.name, row.dense.shown) == ("left", "64.0%")
    assert row.recall.shown.startswith("13.0%")
    assert row.difference.shown.startswith("−50.0 points")
    assert recalls({}).rows == ()
    assert [row.name for row in recalls({"by_class": [{}, 3, None]}).rows] == ["–"]
