"""Documents of every kind of page: an audit, a set, an export, comparisons, one of long texts."""

from __future__ import annotations

from typing import Any

from tests.report_fixture import check, span, verdict

_LONG = "a rather long text that goes on and on about this model and its rows, " * 12

LEAK: dict[str, Any] = {
    "attack": "loss",
    "accusations": [{"prior": 0.1, "fpr": 0.01, "tpr": 0.02, "precision": 0.18}],
    "classes": [
        {
            "label": i,
            "name": f"class number {i}",
            "attack": "loss",
            "members": 40,
            "nonmembers": 41,
            "auc": 0.65 - i / 100,
            "low": 0.5,
            "high": 0.8 - i / 100,
        }
        for i in range(6)
    ],
    "classes_measured": 6,
    "classes_without_rows": 0,
    "groups": [],
    "limit": 0.6,
    "by_signals": [],
}

AUDIT: dict[str, Any] = {
    **verdict(dense=False),
    "kind": "audit",
    "leak": LEAK,
    "scope": "metric attacks, the label-only gap; without reference models no shadow-model attack "
    "could be run; nothing saw the model's weights",
    "next_steps": ["Train with a defense.", "Then audit it again."],
    "exposed": {
        "attack": "loss",
        "members": [
            {"row": i, "score": 1.0 - i / 10, "false_positive_rate": 0.01} for i in range(4)
        ],
    },
}


def _held(*files: str, value: float) -> dict[str, Any]:
    return {"files": list(files), "attack": "pair", "auc": span(value, 0.02)}


JOINT: dict[str, Any] = {
    **AUDIT,
    "kind": "joint",
    "files": [
        _held(value=0.52 + i / 100)
        | {"name": f"m{i}.onnx", "verdict": "PASS", "accuracy": 0.8, "exposed": i}
        for i in range(3)
    ],
    "pairs": [_held("m0.onnx", "m1.onnx", value=0.61), _held("m1.onnx", "m2.onnx", value=0.6)],
    "best_pair": _held("m0.onnx", "m1.onnx", value=0.61),
    "family": _held("m0.onnx", "m1.onnx", "m2.onnx", value=0.64),
    "newly_exposed_by_set": {
        "members": 400,
        "rate": 0.02,
        "rows": [3, 4],
        "false_positive_rate": 0.01,
    },
    "dense": "secret",
}

EXPORT: dict[str, Any] = {
    "schema_version": 1,
    "kind": "export",
    "status": "FAIL",
    "sentence": "It leaks.",
    "file": {"name": "m.onnx", "format": "onnx", "bytes": 10},
    "model": {"architecture": "mlp"},
    "sha256": {"m.onnx": "0" * 64},
    "made_with": {"safecompress": "0.1.0", "commit": "1" * 40, "clean_tree": False},
    "checks": [check("accuracy as before", "FAIL", span(-0.1, 0.01))],
    "retest": {"checks": [check("loss.auc ≤ 0.6", "PASS", span(0.5, 0.01))]},
}

LONG: dict[str, Any] = {
    **verdict(),
    "sentence": f"Not safe to ship: {_LONG}. {_LONG}",
    "scope": f"{_LONG}; no {_LONG}",
    "limits": [_LONG] * 12,
    "next_steps": [_LONG] * 4,
    "remarks": [_LONG],
    "leak": LEAK | {"classes": [LEAK["classes"][0] | {"name": _LONG, "attack": _LONG}]},
    "checks": [
        check(f"{_LONG[:180]}{i}.auc", "FAIL", span(0.7, 0.02), condition=f"≤ 0.{i + 10}")
        for i in range(40)
    ],
}


def _row(method: str, value: float, *, best: bool = False) -> dict[str, Any]:
    return {
        "data": "location30",
        "density": 0.05,
        "models": 20,
        "method": method,
        "pareto": best,
        "accuracy": span(0.6 + value / 10, 0.01),
        "value": span(0.3 - value / 10, 0.01),
        "strongest": {"attack": "rmia", **span(0.5 + value, 0.01)},
        "attacks": {"loss": span(0.5 + value / 2, 0.01), "rmia": span(0.5 + value, 0.01)},
        "against": span(value / 10, 0.01) | {"p_corrected": 0.04},
        "says": "what it is",
    }


COHORTS: dict[str, Any] = {
    "kind": "cohorts",
    "reference": "ours",
    "rows": [_row("ours", 0.1, best=True), _row("dense", 0.3), _row("magnitude", 0.2)],
    "hypervolume": [
        {"method": name, "density": 0.05, "sets": 2, **span(0.2, 0.01)}
        for name in ("ours", "dense")
    ],
}
RUNS: dict[str, Any] = {**COHORTS, "kind": "runs", "hypervolume": []}
