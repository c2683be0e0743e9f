"""Every way of being small and safe, side by side: methods, data sets and densities in cohorts.

A cell is one method on one data set at one density: a cohort of models on recorded draws of the
same rows, each once the target of every attack and otherwise a shadow model of the others. Cells
are made by `safecompress.compare` and never twice (`cells.py`); the dense models and teachers that
methods have in common are trained once.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.table --data location30
    python -m benchmarks.table --quick

One row is made again by naming it: `--data location30 --density 0.05 --method rigl`.

Named in advance: a cell's figure is accuracy × (1 − AUC of its strongest attack), the attack with
the largest mean AUC over the cohort's targets; the test is the paired t-test over targets of
SafeCompress minus the other method, two-sided at .05, Holm-corrected over the methods of a data set
and density.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from benchmarks.cells import RESULTS, Cell, Cells, add_out
from benchmarks.comparing import make_cells
from benchmarks.sets import FP32, SETTINGS
from safecompress.cohorts.statistics import contest
from safecompress.verdicts.comparison_document import (
    AttackSpread,
    CohortRow,
    CohortTable,
    Mean,
    Spread,
)

ROOT = Path(__file__).parents[1]
TABLE = RESULTS / "table"

_ONE = "steer.population=1"
_TM = "steer.objective={tm: {attack: auc}}"
"""The published objective."""
_EVERY = "steer.search=every-round"
_MOVES = "steer.attacks=[loss]"
"""Settings with the cheapest attack alone: with one proposal there is nothing to choose."""


def defended(*defenses: str, stages: tuple[str, ...] = ("dense", "steer")) -> list[str]:
    """Return the settings of a dense model pruned once, with defenses in some stages."""
    given = f"defenses=[{','.join(defenses)}]"
    return ["sparse.rounds=0", *(f"{stage}.{given}" for stage in stages)]


def path(move: str) -> list[str]:
    """Return the settings of a path that makes one move every round."""
    return [f"steer.proposals=[{move}]", _ONE, _MOVES, _TM]


SMALL = "sparse.train.batch_size=32"
"""Students are trained for many steps, because they start from untrained weights."""
_MIN_MAX = "{adversarial: {weight: 1.0, start: 0.0, attacker_steps: 7}}"
"""Seven attacker steps to one of the model, as Wang et al. take them."""

METHODS: dict[str, dict[str, Any]] = {
    "dense": {
        "set": ["sparse.rounds=0", "sparse.train.epochs=0"],
        "densities": [1.0],
        "says": "the dense model",
    },
    "magnitude": {
        "set": ["sparse.rounds=0"],
        "says": "the dense model's largest weights over all layers, fine-tuned",
    },
    "magnitude by layer": {
        "set": ["sparse.rounds=0", "sparse.initialize=magnitude-layer"],
        "says": "the same number kept as ERK gives each layer",
    },
    "static": {
        "set": ["sparse.rounds=0", "sparse.initialize=scratch"],
        "says": "a random mask on untrained weights, trained",
    },
    "set": {"set": path("set"), "says": "SET from the dense model"},
    "set from scratch": {
        "set": [*path("set"), "sparse.initialize=scratch"],
        "says": "SET from untrained weights, in this table's rounds",
    },
    "rigl": {"set": path("rigl"), "says": "RigL from the dense model"},
    "rigl from scratch": {
        "set": [*path("rigl"), "sparse.initialize=scratch"],
        "says": "RigL from untrained weights, in this table's rounds",
    },
    "safecompress-masks": {
        "set": [
            "steer.proposals=[rigl,set,{update: {drop: magnitude, grow: random-unfired}},"
            "{update: {drop: taylor, grow: gradient}}]",
            _EVERY,
            _TM,
        ],
        "says": "the published loop: four mask strategies, the best goes on each round",
    },
    "soft-labels": {
        "set": path("{soft-labels: {share: 1.0, mask: rigl}}"),
        "says": "RigL towards labels of teachers that never saw the row (SELENA, sparse)",
    },
    "soft-labels-mixed": {
        "set": path("{soft-labels: {share: 0.6, mask: rigl}}"),
        "says": "the same, with two fifths of the true labels",
    },
    "soft-labels-warm": {
        "set": path("{soft-labels: {share: 1.0, temperature: 2.0, mask: rigl}}"),
        "says": "teachers' labels alone, at temperature 2",
    },
    "adversarial": {
        "set": [
            *path("rigl"),
            "steer.defenses=[{adversarial: {weight: 0.1}}]",
        ],
        "says": "RigL with the bounded min-max term against a black-box attacker",
    },
    "gradual": {
        "set": ["sparse.rounds=0", "sparse.initialize=gradual-global"],
        "says": "gradual magnitude pruning, then fine-tuned; twice the epochs of magnitude",
    },
    "snip": {
        "set": ["sparse.rounds=0", "sparse.initialize=snip"],
        "says": "SNIP: a mask by sensitivity on untrained weights, trained",
    },
    "lottery": {
        "set": ["sparse.rounds=0", "sparse.initialize=lottery"],
        "says": "lottery ticket: the dense model's largest weights, trained again from their start",
    },
    "mia-pruning": {
        "set": ["sparse.rounds=0", "sparse.initialize=admm-global"],
        "says": "ADMM, then the mask trained on; twice the epochs of magnitude",
    },
    "mia-pruning + min-max": {
        "set": [
            *defended(_MIN_MAX),
            "sparse.initialize=admm-global",
        ],
        "says": "the same with the attacker's bounded gain in every step",
    },
    "min-max dense": {
        "set": [
            *defended(_MIN_MAX, stages=("dense",)),
            "sparse.train.epochs=0",
        ],
        "densities": [1.0],
        "says": "the dense model with the bounded min-max term",
    },
    "relax-loss": {
        "set": defended("{relax-loss: {target: 0.5}}"),
        "says": "RelaxLoss, dense and pruned",
    },
    "ppb": {"set": defended("ppb"), "says": "PPB, dense and pruned"},
    "label-smoothing": {"set": defended("label-smoothing"), "says": "dense and pruned"},
    "hamp": {"set": defended("hamp"), "says": "HAMP's training, dense and pruned"},
    "dropout": {"set": defended("dropout"), "says": "dense and pruned"},
    "early-stopping": {"set": defended("early-stopping"), "says": "dense and pruned"},
    "distillation (reference only)": {
        "set": [
            *defended("{distillation: {rows: reference}}", stages=("steer",)),
            "sparse.initialize=scratch",
        ],
        "says": "a student that meets no member, under a random mask",
    },
    "dp-sgd": {
        "set": defended("{dp-sgd: {noise: 1.0, clip: 1.0}}"),
        "says": "DP-SGD, dense and pruned",
    },
    "student": {
        "set": [
            "sparse.initialize=student-global",
            "sparse.student.temperature=2.0",
            "steer.proposals=[rigl,set,{soft-labels: {share: 1.0, mask: rigl}}]",
            "steer.calibrated=false",
            SMALL,
            _TM,
        ],
        "says": "a dense student of teachers that never saw the row, its labels flattened, cut; "
        "the best of three lineages; in batches of 32",
    },
    "safecompress": {
        "set": [SMALL],
        "says": "the default of `compress`, in batches of 32: the tests choose between RigL and "
        "students of soft or of sharpened labels",
    },
}

_FIXED = [*FP32, "data.split.reference=0.2"]
"""A fifth of the rows that are no members is set aside for the defenses that need such rows."""


def of_recipe(name: str) -> dict[str, Any]:
    """Return a data set as `safecompress compare` reads it."""
    return {"config": f"recipes/{name}.yaml", "set": [*SETTINGS[name], *_FIXED]}


DATA: dict[str, dict[str, Any]] = {
    "location30": of_recipe("location30"),
    "banking77": of_recipe("banking77"),
    "synthetic": {"config": "src/safecompress/cli/demo.yaml", "set": _FIXED},
    "cifar100-alexnet": {**of_recipe("cifar100-alexnet"), "models": 5, "densities": [0.05]},
}
ATTACKS = (
    *("loss", "modified-entropy", "gap", "neural", "white-box"),
    *("lira-online", "lira-offline", "rmia"),
)
SUMMARY = (
    *("dense", "magnitude", "rigl", "lottery", "snip", "static", "mia-pruning"),
    *("mia-pruning + min-max", "relax-loss", "soft-labels", "student", "safecompress"),
)
"""The methods of the short table."""
MODELS = 20
SEED = 400
REFERENCE = "safecompress"
"""The method that all others are compared with."""
QUICK = ("dense", "magnitude", "rigl", "soft-labels", "safecompress")


def comparison(*, models: int, seed: int = SEED) -> dict[str, Any]:
    """Return the comparison as `safecompress compare` reads it."""
    data = {name: {**d, "config": str(ROOT / d["config"])} for name, d in DATA.items()}
    if "SAFECOMPRESS_DATA" not in os.environ:
        data = {"synthetic": data["synthetic"]}
    return {
        "data": data,
        "methods": METHODS,
        "densities": [0.05, 0.1],
        "models": models,
        "attacks": list(ATTACKS),
        "reference": REFERENCE,
        "seed": seed,
    }


def main() -> None:
    """Make the missing cells and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=[])
    parser.add_argument("--density", type=float, nargs="*", default=[])
    parser.add_argument("--method", nargs="*", default=[])
    parser.add_argument("--models", type=int, default=MODELS)
    parser.add_argument("--seed", type=int, default=SEED, help="another draw, into another --out")
    parser.add_argument("--workers", type=int)
    add_out(parser, "table")
    parser.add_argument("--quick", action="store_true", help="a sanity table, minutes")
    parser.add_argument("--summary", type=float, metavar="DENSITY", help="print the short table")
    parser.add_argument("--print-config", action="store_true", help="as YAML, and make nothing")
    options = parser.parse_args()
    config = comparison(models=8 if options.quick else options.models, seed=options.seed)
    config["workers"] = options.workers
    data, densities, methods = options.data, options.density, options.method
    out = options.out
    if options.quick:
        data, densities, methods = ["synthetic"], [0.05, 1.0], [m for m in METHODS if m in QUICK]
        out = Path(tempfile.mkdtemp()) if options.out == TABLE else options.out
    if options.summary is not None:
        cells = Cells(options.out).finished()
        print(summary(tabulated(cells, reference=REFERENCE), density=options.summary))
        return
    if options.print_config:
        print(yaml.safe_dump(config, sort_keys=False))
        return
    make_cells(config, out, data=data, densities=densities, methods=methods)


def tabulated(cells: Mapping[str, Cell], *, reference: str | None) -> CohortTable:
    """Return the table of finished cells, as `safecompress compare` makes it.

    Args:
        cells: by key.
        reference: the method that all others are compared with; None tests nothing.
    """
    return contest(list(cells.values()), reference=reference)


def summary(table: CohortTable, *, density: float) -> str:
    """Return the short table: accuracy in percent and strongest AUC, by method and data set.

    Cohorts whose models took several paths bear a †.

    Args:
        table: the table.
        density: of the pruned rows; the dense model stands above them.
    """
    rows = {(row.data, row.method): row for row in table.rows if row.density in {density, 1.0}}
    means = {m.method: m for m in table.hypervolume if m.density in {density, 1.0}}
    pruned = {row.data for row in table.rows if row.density == density}
    sets = [name for name in DATA if name in pruned]
    lines = [f"| method | {' | '.join(sets)} | mean accuracy × (1 − AUC) |"]
    lines.append("|---" * (len(sets) + 2) + "|")
    for method in SUMMARY:
        found = [rows.get((name, method)) for name in sets]
        if not any(found):
            continue
        cells = ["–" if row is None else _point(row) for row in found]
        mean = "–" if method not in means else _plus_minus(means[method], 1, 3)
        name = f"**{method}**" if method == "safecompress" else method
        lines.append(f"| {name} | {' | '.join(cells)} | {mean} |")
    return "\n".join(lines) + "\n"


def _point(row: CohortRow) -> str:
    mark = " †" if row.paths > 1 else ""
    return f"{_plus_minus(row.accuracy, 100, 1)} / {_plus_minus(row.strongest, 1, 3)}{mark}"


def _plus_minus(span: Mean | Spread | AttackSpread, scale: float, digits: int) -> str:
    values = (scale * span.mean, scale * (span.high - span.low) / 2)
    return " ± ".join(f"{value:.{digits}f}".removeprefix("0") for value in values)


if __name__ == "__main__":
    main()
