"""Which attacks are blind to what a defense leaks: every defense against every kind of attack.

A cell is one defense on one data set: a cohort of eight models at density .05, each once the target
of every attack that a cohort has evidence for, with the others, trained by the same recipe, as its
reference models. A kind of attack (`SIGNALS`) is blind to a defense if the strongest attack of the
kind finds an AUC that is more than .03 below that of the strongest of all. It uses the data sets
and protocol of `benchmarks.table`; seed, defenses and attacks were fixed before any figure was
seen.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.blind_spots --data location30
    python -m benchmarks.blind_spots_table  # once its cells are collected

The latter writes the tables of the committed cells into docs/attacks.md, docs/defenses.md and
docs/selection.md.
"""

from __future__ import annotations

from typing import Any

from benchmarks.comparing import ask_for_cells
from benchmarks.table import METHODS as TABLE
from benchmarks.table import SMALL, comparison, defended
from safecompress.defenses import DEFENSES

_OPTIONS: dict[str, str] = {
    "adversarial": "{adversarial: {weight: 0.1}}",
    "distillation": "{distillation: {rows: reference}}",
    "dp-sgd": "{dp-sgd: {noise: 1.0, clip: 1.0}}",
    "relax-loss": "{relax-loss: {target: 0.5}}",
}
"""Options of defenses, those of `benchmarks.table`; others are taken with their defaults."""
_LATER = frozenset({"distillation", "unpairing", "wemem"})
"""Defenses that need a finished dense model, and so shape the sparse stage alone."""


def of_defense(name: str) -> list[str]:
    """Return the settings of a dense model pruned once by magnitude, with one defense.

    Args:
        name: of the defense, as a configuration names it.
    """
    stages = ("steer",) if name in _LATER else ("dense", "steer")
    begin = ["sparse.initialize=scratch"] if name == "distillation" else []
    return [*defended(_OPTIONS.get(name, name), stages=stages), *begin]


METHODS: dict[str, list[str]] = {
    "dense": TABLE["dense"]["set"],
    "magnitude": TABLE["magnitude"]["set"],
    "snip": TABLE["snip"]["set"],
    "soft-labels": TABLE["soft-labels"]["set"],
    "student": ["sparse.rounds=0", SMALL, "sparse.initialize=student-global"],
    **{name: of_defense(name) for name in DEFENSES.parts},
}
"""No defense but the dense model and pruning alone, recipes that defend by what they learn from,
and every defense of the registry."""
ATTACKS: tuple[str | dict[str, Any], ...] = (
    *("loss", "modified-entropy", "gap", "quantile"),
    *("lira-online", "lira-offline", "calibrated", "bavaria-online", "bavaria-offline"),
    *("rmia", "informia"),
    *("confidence", "entropy", "neural"),
    *("learnt-references", "learnt-known-rows", "six-numbers"),
    *("indirect", "augmentation"),
    {"boundary": {"directions": 2, "steps": 0}},
    *("white-box", "pair"),
)
"""Every attack for which a cohort has evidence, but those that take minutes a target."""
LEFT_OUT: dict[str, str] = {
    "family": "a cohort holds one version of each model",
    "joint": "a cohort holds one version of each model",
    "learnt-set": "a cohort holds one version of each model",
    "per-output": "a model of one class of several has a single output",
    "samia": "half a minute a target",
    "neural-published": "10 seconds a target",
    "white-box-published": "10 seconds a target",
}
"""Attacks that no cell has, and why."""
DATA = ("location30", "synthetic", "banking77")
MODELS, SEED = 8, 470


def blind_spots() -> dict[str, Any]:
    """Return the comparison as `safecompress compare` reads it."""
    whole = comparison(models=MODELS, seed=SEED)
    return whole | {
        "data": {name: whole["data"][name] for name in DATA if name in whole["data"]},
        "methods": {
            name: {"set": settings, "says": name}
            | ({"densities": [1.0]} if name == "dense" else {})
            for name, settings in METHODS.items()
        },
        "densities": [0.05],
        "attacks": list(ATTACKS),
        "reference": None,
    }


def main() -> None:
    """Make the missing cells and print the table of all."""
    ask_for_cells("blind_spots", blind_spots(), summary=__doc__.splitlines()[0])


if __name__ == "__main__":
    main()
