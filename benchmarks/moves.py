"""Which moves are worth choosing between: chosen teachers, crossovers, flattened labels, SNIP.

Each method is one student, or one first mask, with one change in what its teachers are or in what
it learns from, so that a row shows what the change alone does to accuracy and to the strongest
attack. It uses the data sets, attacks and protocol of `benchmarks.table` on draws of its own: small
cohorts at density .05, a trial and no table. The seed and the methods were fixed before any figure
was seen.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.moves --data location30 synthetic
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.cells import Cells, add_out
from benchmarks.students import taught
from benchmarks.table import METHODS as TABLE
from benchmarks.table import SMALL, comparison, say
from safecompress import compare
from safecompress.report import table_markdown

CHOSEN = "teachers.choose={}"
SHALLOW = "teachers.choose={options: [{hidden: [256]}]}"
"""The default choice, and one that tries a shallower network, too."""


def crossed(share: float, *, reference: bool = False) -> str:
    """Return the setting that gives crossovers a share of every batch."""
    return f"teachers.transfer_set={{share: {share}, reference: {str(reference).lower()}}}"


METHODS: dict[str, list[str]] = {
    "magnitude": TABLE["magnitude"]["set"],
    "student": taught(),
    "student of labels at temperature 2": taught(2.0),
    "student of teachers of as many steps": [*taught(), "teachers.equal=steps"],
    "student of chosen teachers": [*taught(), SHALLOW],
    "student of half crossovers": [*taught(), crossed(0.5)],
    "student of crossovers alone": [*taught(), crossed(1.0)],
    "student of half crossovers and reference rows": [*taught(), crossed(0.5, reference=True)],
    "student of chosen teachers and half crossovers": [*taught(), SHALLOW, crossed(0.5)],
    "student of chosen teachers and crossovers at temperature 2": [
        *taught(2.0),
        SHALLOW,
        crossed(0.5),
    ],
    "snip": TABLE["snip"]["set"],
    "snip of soft labels": ["sparse.rounds=0", SMALL, "sparse.initialize=snip-soft"],
}
MODELS, SEED = 8, 430


def moves() -> dict[str, Any]:
    """Return the comparison as `safecompress compare` reads it."""
    methods = {name: {"set": settings, "says": name} for name, settings in METHODS.items()}
    return comparison(models=MODELS, seed=SEED) | {
        "methods": methods,
        "densities": [0.05],
        "reference": "student",
    }


def main() -> None:
    """Make the missing cells and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=["location30", "synthetic"])
    parser.add_argument("--method", nargs="*", default=[])
    parser.add_argument("--workers", type=int)
    add_out(parser, "moves")
    options = parser.parse_args()
    config = moves() | {"workers": options.workers}
    Cells(options.out).unpack()
    document = compare(
        config, out=options.out, data=options.data, methods=options.method, on_event=say
    )
    print(table_markdown(document.to_json()))


if __name__ == "__main__":
    main()
