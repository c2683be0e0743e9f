"""How a student is best taught: which teachers, how sharp their labels, and from which start.

The default proposals of `compress` were chosen by this comparison. It uses the data sets, attacks
and protocol of `benchmarks.table` on other draws of the rows: cohorts of eight models at density
.05.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.students --data banking77
"""

from __future__ import annotations

from typing import Any

from benchmarks.comparing import ask_for_cells
from benchmarks.table import METHODS as TABLE
from benchmarks.table import SMALL, comparison

_ONE = ("steer.population=1", "steer.attacks=[loss]", "steer.calibrated=false")
"""Settings with the cheapest attack alone: with one proposal there is nothing to choose."""
_STUDENT = "{student: {mask: rigl}}"


def taught(temperature: float = 1.0, *, folds: int = 4, held_out: int = 2) -> list[str]:
    """Return the settings of a student of such teachers, its labels raised to 1 / temperature."""
    return [
        SMALL,
        "sparse.initialize=student-global",
        f"sparse.student.temperature={temperature}",
        f"teachers.folds={folds}",
        f"teachers.held_out={held_out}",
        "steer.proposals=[rigl]",
        *_ONE,
    ]


def labels(temperature: float, over: str) -> str:
    """Return the proposal of soft labels at a temperature over another one."""
    return f"{{soft-labels: {{share: 1.0, temperature: {temperature}, mask: {over}}}}}"


METHODS: dict[str, list[str]] = {
    **{f"temperature {t:g}": taught(t) for t in (0.1, 0.25, 0.5, 1.0, 2.0)},
    "8 teachers each without 2 folds": taught(folds=8, held_out=2),
    "8 teachers each without 4 folds": taught(folds=8, held_out=4),
    "8 teachers each without 4 folds temperature 0.5": taught(0.5, folds=8, held_out=4),
    "dense student at 1 then temperature 0.25": [
        SMALL,
        "sparse.initialize=student-global",
        f"steer.proposals=[{labels(0.25, 'rigl')}]",
        *_ONE,
    ],
    "snip": TABLE["snip"]["set"],
    "snip then temperature 0.1": [
        "sparse.initialize=snip",
        SMALL,
        f"steer.proposals=[{labels(0.1, 'rigl')}]",
        *_ONE,
    ],
    "search with 0.25 1 and 2": [
        SMALL,
        f"steer.proposals=[rigl,{_STUDENT},{labels(0.25, _STUDENT)},{labels(2.0, _STUDENT)}]",
    ],
    "search with 0.1 and 1": [
        SMALL,
        f"steer.proposals=[rigl,{_STUDENT},{labels(0.1, _STUDENT)}]",
    ],
}


def students() -> dict[str, Any]:
    """Return the comparison as `safecompress compare` reads it."""
    methods = {name: {"set": settings, "says": name} for name, settings in METHODS.items()}
    return comparison(models=8, seed=410) | {
        "methods": methods,
        "densities": [0.05],
        "reference": None,
    }


def main() -> None:
    """Make the missing cells and print the table of all."""
    ask_for_cells("students", students(), summary=__doc__.splitlines()[0])


if __name__ == "__main__":
    main()
