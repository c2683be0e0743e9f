"""A synthetic run folder: the files a finished run leaves, without a run."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path
from typing import Any

import torch

from safecompress.verdicts.pair_plot_data import png

ATTACKS = ("loss", "modified-entropy", "neural")
PROPOSALS = ("rigl", "set", "magnitude+random-unfired", "taylor+gradient f=0.1")
STRENGTH = {"dense": 1.05, "magnitude": 0.42, "compressed": 0.14}
ACCURACY = {"dense": 0.724, "magnitude": 0.701, "compressed": 0.716}

CONFIG = """\
seed: 7
data:
  source: {source: npz, path: "${DATA}/location30.npz", x: features, y: labels}
  split: {members: 0.5, steer: 0.5}
model: {name: mlp, options: {hidden: [512, 256]}}
sparse:
  density: 0.1
  distribution: erk
  rounds: 6
steer:
  attacks: [loss, modified-entropy]
"""


def span(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def auc_of(strength: float) -> float:
    return 0.5 * (1 + math.erf(strength / 2))


def check(name: str, status: str, figures: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "status": status,
        "critical": True,
        "n_members": 1250,
        "n_nonmembers": 1260,
        "knowledge": "auditor",
        "condition": "≤ 0.6",
        "seconds": 0.0123,
        "message": "",
        **figures,
        **more,
    }


NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None}


def checks() -> list[dict[str, Any]]:
    dense = "difference to the dense model"
    plain: dict[str, Any] = {"knowledge": "none", "n_members": 0}
    return [
        check(
            "density ≤ 0.1", "PASS", span(0.0998, 0), condition="≤ 0.1", n_nonmembers=0,
            seconds=0.0, knowledge="none", n_members=0,
        ),
        check(
            "accuracy ≥ dense − 0.05", "PASS", span(-0.008, 0.0145), condition="≥ dense − 0.05",
            message=dense, **plain,
        ),
        check("loss.auc ≤ 0.6", "PASS", span(0.539, 0.022)),
        check("modified-entropy.auc ≤ 0.6", "PASS", span(0.541, 0.022)),
        check("neural.auc ≤ 0.6", "PASS", span(0.545, 0.031), seconds=2.31),
        check("loss.auc ≤ dense", "PASS", span(-0.231, 0.019), condition="≤ dense", message=dense),
        check("modified-entropy.class-balanced-accuracy ≤ 0.6", "FAIL", span(0.634, 0.027)),
        check(
            "modified-entropy.tpr@0.01 ≤ 0.05", "WARN", span(0.061, 0.009), condition="≤ 0.05",
            critical=False,
        ),
        check("neural.auc ≤ 0.55", "INCONCLUSIVE", span(0.545, 0.031), condition="≤ 0.55",
              critical=False),
        check(
            "shadow.tpr@0.001 ≤ 0.01", "NOT_RUN", NOTHING, condition="≤ 0.01", critical=False,
            n_members=0, n_nonmembers=0, knowledge="shadow",
            message="shadow: needs 'shadows', which this audit does not have.",
        ),
        check("control: planted leak, loss", "PASS", span(0.998, 0),
              condition="caught (AUC ≥ 0.95)", message="a planted leak was found"),
        check("control: no leak, loss", "PASS", span(0.497, 0), condition="at chance (p ≥ 0.001)",
              message="non-members split at random: AUC 0.497 (p = 0.61)"),
    ]  # fmt: skip


def comparison(subjects: tuple[str, ...]) -> list[dict[str, Any]]:
    rows = []
    for name in subjects:
        aucs = {
            f"{a}.auc": span(auc_of(STRENGTH[name]) + 0.004 * i, 0.021)
            for i, a in enumerate(ATTACKS)
        }
        others = {
            "modified-entropy.class-balanced-accuracy": span(0.52 + STRENGTH[name] / 5, 0.025),
            "modified-entropy.tpr@0.01": span(0.01 + STRENGTH[name] / 12, 0.009),
        }
        gap = None
        if name != "dense" and "dense" in subjects:
            drop = auc_of(STRENGTH[name]) - auc_of(STRENGTH["dense"])
            gap = {"accuracy": span(ACCURACY[name] - ACCURACY["dense"], 0.0145)}
            gap |= {f"{a}.auc": span(drop, 0.019) for a in ATTACKS}
        rows.append(
            {
                "name": name,
                "density": 1.0 if name == "dense" else 0.0998,
                "accuracy": span(ACCURACY[name], 0.025),
                "attacks": aucs | others,
                "difference_to_dense": gap,
            }
        )
    return rows


def as_passed(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a check as a verdict can have it that passed."""
    return entry | {"status": "PASS"} if entry["critical"] else entry


def verdict(status: str = "FAIL", *, dense: bool = True) -> dict[str, Any]:
    subjects = ("dense", "magnitude", "compressed") if dense else ("compressed",)
    return {
        "schema_version": 1,
        "kind": "compress",
        "verdict": status,
        "judged": "compressed",
        "sentence": "Not safe to ship: 1 critical check(s) failed (modified-entropy."
        "class-balanced-accuracy ≤ 0.6). Its strongest attack tells members from non-members with "
        "AUC 0.547 (0.5 is guessing, 1 is certainty).",
        "model": {
            "name": "mlp(512, 256) on location30",
            "density": 0.0998,
            "parameters": 371_998,
            "maskable": 371_200,
            "nonzeros": 37_046,
            "accuracy": ACCURACY["compressed"],
            "sha256": hashlib.sha256(b"model").hexdigest(),
            "lineage": ["rigl", "set"],
            "transforms": {"bits": None, "activations": False, "channels": {}},
            "dense": {"parameters": 371_998, "accuracy": ACCURACY["dense"]} if dense else None,
        },
        "threat_model": {
            "kind": "compressed",
            "text": "The attacker reaches only the compressed model, sees its full outputs, and "
            "knows each record's true label.",
        },
        "power": {
            "smallest_detectable_auc": 0.529,
            "half_width_at_chance": 0.023,
            "n_members": 1250,
            "n_nonmembers": 1260,
            "text": "1250 members and 1260 non-members tell an AUC of 0.529 or more from chance "
            "(power 80 %); near chance the interval is ±0.023.",
        },
        "looks": 2,
        "level": 0.975,
        "scope": "metric and neural black-box attacks only; no shadow-model or label-only attack",
        "checks": [as_passed(c) for c in checks()] if status == "PASS" else checks(),
        "comparison": comparison(subjects),
        "leak": None,
        "limits": [
            "It holds for the attacks listed, not for every attack: a stronger one may find more.",
            "Passing is not a formal guarantee such as differential privacy.",
        ],
    }


def history(rounds: int, candidates: int, *, discarded_every: int = 7) -> list[dict[str, Any]]:
    draw = random.Random(5)
    lines = []
    for r in range(1, rounds + 1):
        scores = [draw.random() for _ in range(candidates)]
        dead = [(r * candidates + c) % discarded_every == 0 for c in range(candidates)]
        order = sorted((s, c) for c, s in enumerate(scores) if not dead[c])
        ranks = {c: place + 1 for place, (_, c) in enumerate(order)}
        for c in range(candidates):
            lines.append(_line(r, c, scores[c], ranks.get(c)))
    return lines


def _line(r: int, c: int, score: float, rank: int | None) -> dict[str, Any]:
    base = {
        "round": r,
        "candidate": f"r{r}p1c{c + 1}",
        "parent": f"r{r}p1",
        "proposal": PROPOSALS[c % len(PROPOSALS)],
        "step": 400 * r,
        "seconds": {"settle": 3.2 + score},
        "status": "discarded",
        "accuracy": None,
        "measures": {},
        "density": None,
        "rank": rank,
        "selected": False,
        "reason": "the loss became NaN at step 312",
    }
    if rank is None:
        return base
    aucs = {f"{a}.auc": 0.54 + 0.05 * score + 0.01 * i for i, a in enumerate(ATTACKS[:2])}
    aucs["transfer-l2.rate"] = 0.4 - 0.2 * score
    reason = f"leakage {score:+.3f} standard errors against its siblings, accuracy above the floor"
    return base | {
        "status": "ok",
        "accuracy": 0.7 + score / 50,
        "measures": aucs,
        "cosine": 0.6 - 0.4 * score,
        "density": 0.0998,
        "selected": rank == 1,
        "reason": reason,
        "seconds": {"settle": 3.2 + score, "outputs": 0.11, "tests": {"loss": 0.004, "e": 0.007}},
    }


def figures(subjects: tuple[str, ...]) -> dict[str, Any]:
    return {
        "roc": {s: {a: _roc(STRENGTH[s] + 0.03 * i) for i, a in enumerate(ATTACKS)}
                for s in subjects},
        "loss": {s: _histogram(STRENGTH[s]) for s in subjects},
        "layers": [
            {
                "name": f"layers.{i}.weight",
                "shape": shape,
                "total": shape[0] * shape[1],
                "nonzeros": int(shape[0] * shape[1] * density),
                "density": density,
                "coverage": min(1.0, density * 2.4),
            }
            for i, (shape, density) in enumerate(
                [([512, 446], 0.071), ([256, 512], 0.124), ([30, 256], 0.483)]
            )
        ],
        "costs": [{"name": c["name"], "stage": "verdict", "seconds": c["seconds"]}
                  for c in checks()],
        "transfer": [_transfer()],
        "queries": [_queries()],
    }  # fmt: skip


PICTURE = png(torch.linspace(0, 1, 3 * 8 * 8).reshape(3, 8, 8))


def _transfer() -> dict[str, Any]:
    places = [(a, on) for on in ("the model", "a copy trained on") for a in ("pgd-10", "margin")]
    return {
        "measure": "transfer-l2.rate",
        "radius": 0.5,
        "rows": 180,
        "masked": False,
        "white_box": 0.97,
        "white_box_full": 0.95,
        "rates": [
            {"attacker": a, "on": on, "strongest": i == 1, **span(0.2 + 0.1 * (i == 1), 0.05)}
            for i, (a, on) in enumerate(places)
        ],
        "examples": [
            {"label": 3, "said": 5, "row": PICTURE, "point": PICTURE, "difference": PICTURE}
        ],
    }


def _queries() -> dict[str, Any]:
    kinds = [("rgf", False, 80), ("p-rgf", True, 12), ("gfcs", True, 4)]
    return {
        "measure": "query-saving-l2.ratio",
        "budget": 1000,
        "attacks": [
            {"name": n, "guided": g, "rows": 40, "asked": [first * (i + 1) for i in range(11)]}
            for n, g, first in kinds
        ],
    }


def _normal(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _roc(strength: float) -> dict[str, Any]:
    thresholds = [5 - 0.05 * i for i in range(220)]
    points = [(1 - _normal(t), 1 - _normal(t - strength)) for t in thresholds]
    return {
        "fpr": [0.0, *(round(1260 * f) / 1260 for f, _ in points), 1.0],
        "tpr": [0.0, *(round(1250 * t) / 1250 for _, t in points), 1.0],
        "auc": _normal(strength / math.sqrt(2)),
    }


def _histogram(strength: float) -> dict[str, Any]:
    edges = [-4 + 0.125 * i for i in range(41)]

    def counts(center: float) -> list[int]:
        heights = [math.exp(-0.5 * ((e - center) / 0.55) ** 2) for e in edges[:-1]]
        return [round(1250 * h / sum(heights)) for h in heights]

    return {
        "edges": edges,
        "members": counts(-0.4 - strength),
        "nonmembers": counts(-0.4),
        "unit": "log10 of the cross-entropy in nats",
    }


def provenance() -> dict[str, Any]:
    return {
        "safecompress": "0.1.0",
        "created": "2025-03-01T12:00:00+00:00",
        "python": "3.12.3",
        "torch": "2.13.0",
        "platform": "Linux-6.1-x86_64",
        "threads": 2,
        "precision": {"precision": "32-true", "memory_format": "contiguous"},
        "config_sha256": hashlib.sha256(CONFIG.encode()).hexdigest(),
        "splits": {g: hashlib.sha256(g.encode()).hexdigest() for g in ("members", "sealed")},
        "data": {"membership": "fresh", "duplicates": {"members": 3}, "class_names": ["a", "b"]},
        "seconds": {"dense": 31.2, "loop": 244.0, "verdict": 4.4},
    }


def write_run(
    folder: Path,
    *,
    verdict_json: Any = None,
    history_lines: list[dict[str, Any]] | None = None,
    figures_json: Any = None,
    provenance_json: Any = None,
    config: str = CONFIG,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """Write a run folder; `leave_out` names files that are not written."""
    folder.mkdir(parents=True, exist_ok=True)
    judged = verdict() if verdict_json is None else verdict_json
    drawn = figures(("dense", "magnitude", "compressed")) if figures_json is None else figures_json
    made = provenance() if provenance_json is None else provenance_json
    lines = history(6, 4) if history_lines is None else history_lines
    contents = {
        "verdict.json": json.dumps(judged),
        "figures.json": json.dumps(drawn),
        "provenance.json": json.dumps(made),
        "history.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
        "config.yaml": config,
    }
    for name, content in contents.items():
        if name not in leave_out:
            (folder / name).write_text(content)
    return folder
