"""Which moves are worth choosing between: chosen teachers, crossovers, flattened labels, SNIP.

Each method is one student, or one first mask, with one change in what its teachers are or in what
it learns from, so that a row shows what the change alone does to accuracy and to the strongest
attack. No round of mask updates hides it. It uses the data sets, attacks
and protocol of `benchmarks.table` on draws of its own: small cohorts at density .05, a trial and
no table. The seed and the methods were fixed before any figure was seen.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.moves --data location30 synthetic
"""

from __future__ import annotations

from typing import Any

from benchmarks.comparing import ask_for_cells
from benchmarks.table import METHODS as TABLE
from benchmarks.table import SMALL, comparison

SHALLOW = "teachers.choose={options: [{hidden: [256]}]}"
"""The default choice of the teachers' training, with a shallower network beside it."""


def crossed(share: float, *, reference: bool = False) -> str:
    """Return the setting that gives crossovers a share of every batch."""
    return f"teachers.transfer_set={{share: {share}, reference: {str(reference).lower()}}}"


def student(*settings: str, temperature: float = 1.0) -> list[str]:
    """Return the settings of a student that is cut once, without rounds of mask updates."""
    return [
        SMALL,
        "sparse.rounds=0",
        "sparse.initialize=student-global",
        f"sparse.student.temperature={temperature}",
        *settings,
    ]


METHODS: dict[str, list[str]] = {
    "magnitude": TABLE["magnitude"]["set"],
    "student": student(),
    "crossovers by half": student(crossed(0.5)),
    "crossovers alone": student(crossed(1.0)),
    "chosen teachers": student(SHALLOW),
    "chosen teachers and crossovers by half": student(SHALLOW, crossed(0.5)),
    "teachers of as many steps": student("teachers.equal=steps"),
    "temperature 2": student(temperature=2.0),
    "chosen teachers and crossovers by half at temperature 2": student(
        SHALLOW, crossed(0.5), temperature=2.0
    ),
    "crossovers and reference rows by half": student(crossed(0.5, reference=True)),
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
    ask_for_cells(
        "moves", moves(), summary=__doc__.splitlines()[0], data=["location30", "synthetic"]
    )


if __name__ == "__main__":
    main()
