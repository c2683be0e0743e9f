"""What an attack finds that learns on reference models, beside attacks on the label's log-odds.

Cohorts of ten models at density .05, each attacked with the others as references: models trained on
labels (dense, cut by magnitude, SNIP) and models trained on other models' answers (students), on
draws of the rows of their own. It uses the data sets and protocol of `benchmarks.table`.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.learnt_references --data location30
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.cells import Cells, add_out
from benchmarks.students import taught
from benchmarks.table import METHODS as TABLE
from benchmarks.table import comparison, say
from safecompress import compare
from safecompress.report import table_markdown

ATTACKS = (
    "loss",
    "lira-online",
    "lira-offline",
    "rmia",
    "learnt-references",
)
METHODS: dict[str, list[str]] = {
    **{name: TABLE[name]["set"] for name in ("dense", "magnitude", "snip")},
    "student": taught(1.0),
    "student of flat labels": taught(2.0),
    "student of sharp labels": taught(0.1),
}
MODELS = 10
SEED = 430


def learnt() -> dict[str, Any]:
    """Return the comparison as `safecompress compare` reads it."""
    methods = {name: {"set": settings, "says": name} for name, settings in METHODS.items()}
    return comparison(models=MODELS, seed=SEED) | {
        "methods": methods,
        "densities": [0.05],
        "attacks": list(ATTACKS),
        "reference": None,
    }


def main() -> None:
    """Make the missing cells and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=[])
    parser.add_argument("--method", nargs="*", default=[])
    parser.add_argument("--workers", type=int)
    add_out(parser, "learnt_references")
    options = parser.parse_args()
    config = learnt() | {"workers": options.workers}
    Cells(options.out).unpack()
    document = compare(
        config, out=options.out, data=options.data, methods=options.method, on_event=say
    )
    print(table_markdown(document.to_json()))


if __name__ == "__main__":
    main()
