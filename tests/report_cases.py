"""`CASES`: run folders of every kind, hostile and damaged ones among them, and their pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from safecompress.report import render_report
from tests.report_fixture import (
    CONFIG,
    NOTHING,
    check,
    figures,
    history,
    provenance,
    verdict,
    write_run,
)
from tests.report_page import Page

EVIL = (
    "</td></script><script>alert('1')</script>\"><img src=https://evil.test/x onerror=a()>"
    "\x00\x1b\ud800"
)
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, -1e308, 1e-320, 10**400, "", "text", [], [None], {}, {"a": None},
    float("nan"), float("inf"), [[1]], [float("nan"), 1, "x"],
)  # fmt: skip


def not_run() -> dict[str, Any]:
    checks = [check("neural.auc", "NOT_RUN", NOTHING, message="needs 'shadows'")]
    return verdict("ERROR") | {"checks": checks}


def error() -> dict[str, Any]:
    return verdict("ERROR") | {
        "sentence": "", "checks": [], "comparison": [], "model": {}, "power": {}, "limits": [],
    }  # fmt: skip


def poisoned(value: Any) -> Any:
    """Return `value` with every string, keys with meaning apart, followed by hostile markup."""
    if isinstance(value, dict):
        return {k: poisoned(v) for k, v in value.items()} | {EVIL: EVIL, f"{EVIL}.auc": 0.7}
    if isinstance(value, list):
        return [poisoned(v) for v in value]
    return value + EVIL if isinstance(value, str) else value


def hostile(folder: Path) -> Path:
    drawn = poisoned(figures(("dense", "compressed")))
    drawn["roc"][EVIL] = {EVIL: figures(("dense",))["roc"]["dense"]["loss"]}
    return write_run(
        folder,
        verdict_json=poisoned(verdict()),
        history_lines=[poisoned(line) for line in history(3, 4)],
        figures_json=drawn,
        provenance_json=poisoned(provenance()),
        config=CONFIG + EVIL.encode(errors="replace").decode(),
    )


def many_classes(folder: Path) -> Path:
    names = [f"class number {i} with a rather long name" for i in range(10_000)]
    made = provenance() | {"class_names": names, "by_class": dict.fromkeys(names, 1)}
    config = CONFIG + "names:\n" + "".join(f"  - {name}\n" for name in names)
    return write_run(folder, provenance_json=made, config=config)


def damaged(folder: Path) -> Path:
    write_run(folder)
    (folder / "figures.json").write_text("{")
    (folder / "provenance.json").write_text("[1]")
    (folder / "history.jsonl").write_bytes(
        b'{"round": 1, "candidate": "a"}\n{"round"\n\xff\xfe\n3\n'
    )
    (folder / "config.yaml").write_bytes(b"\xff\x00")
    return folder


CASES: dict[str, Callable[[Path], Path]] = {
    "full": write_run,
    "no dense model": lambda f: write_run(
        f, verdict_json=verdict("PASS", dense=False), figures_json=figures(("compressed",))
    ),
    "no history": lambda f: write_run(f, history_lines=[]),
    "not run": lambda f: write_run(f, verdict_json=not_run()),
    "one round": lambda f: write_run(f, history_lines=history(1, 4)),
    "one candidate": lambda f: write_run(f, history_lines=history(1, 1)),
    "200 candidates": lambda f: write_run(f, history_lines=history(5, 40)),
    "200 rounds": lambda f: write_run(f, history_lines=history(200, 1)),
    "1200 candidates": lambda f: write_run(f, history_lines=history(10, 120)),
    "all discarded": lambda f: write_run(f, history_lines=history(3, 4, discarded_every=1)),
    "error": lambda f: write_run(f, verdict_json=error()),
    "inconclusive": lambda f: write_run(f, verdict_json=verdict("INCONCLUSIVE")),
    "10,000 classes": many_classes,
    "hostile": hostile,
    "verdict only": lambda f: write_run(
        f, leave_out=("figures.json", "provenance.json", "history.jsonl", "config.yaml")
    ),
    "damaged": damaged,
    "empty": lambda f: write_run(
        f, verdict_json={}, figures_json={}, provenance_json={}, history_lines=[{}], config=""
    ),
}


@cache
def rendered(case: str) -> str:
    with TemporaryDirectory() as folder:
        return render_report(CASES[case](Path(folder) / "run"))


WITHOUT_PAIR = {"verdict only", "damaged", "empty"}


@cache
def page(case: str) -> Page:
    return Page.of(rendered(case))


def every_case(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.parametrize("case", CASES)(test)
