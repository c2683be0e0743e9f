"""Figures of attacks, computed from the committed cells of benchmarks."""

from __future__ import annotations

from functools import cache

import numpy as np
from benchmarks.attacks import KINDS
from benchmarks.cells import Cell, Cells, read_lines

from safecompress.attacks import ATTACKS

HEADINGS = {
    "Location30: 64 models": "location30",
    "Banking77: 32 models": "banking77",
    "CIFAR-100, AlexNet: 16 models": "cifar100-alexnet",
}
"""Sections of docs/attacks.md by the data set of their table."""


@cache
def committed(name: str) -> dict[str, Cell]:
    return read_lines(Cells.of(name).committed)


def targets(data: str) -> list[Cell]:
    return [c for k, c in committed("attacks").items() if k.startswith(f"{data}-target")]


def found(data: str, kind: str, label: str) -> list[float]:
    """Return an attack's AUC on each target that it was run on."""
    figures = [target["figures"][kind] for target in targets(data)]
    return [each[label]["auc"] for each in figures if label in each]


def mean(data: str, kind: str, label: str) -> float:
    return float(np.mean(found(data, kind, label)))


def of_table(results: str, key: str, attack: str) -> float:
    """Return the mean AUC of one attack, or of the `strongest`, in a cell of a comparison."""
    each = [target["attacks"] for target in committed(results)[key]["targets"]]
    names = list(each[0]) if attack == "strongest" else [attack]
    return max(float(np.mean([attacks[n]["auc"] for attacks in each])) for n in names)


def accuracy(results: str, key: str) -> float:
    return float(np.mean([t["accuracy"] for t in committed(results)[key]["targets"]]))


def covered(key: str, results: str = "students") -> float:
    """Return accuracy × (1 − AUC of the strongest attack), the mean over a cell's targets."""
    cell = committed(results)[key]
    each = [target["attacks"] for target in cell["targets"]]
    name = max(each[0], key=lambda n: float(np.mean([attacks[n]["auc"] for attacks in each])))
    return float(
        np.mean([t["accuracy"] * (1 - t["attacks"][name]["auc"]) for t in cell["targets"]])
    )


def ahead(results: str, density: str, other: str, sets: tuple[str, ...]) -> float:
    """Return by how much the default covers more than another method, the mean over sets."""
    each = [
        covered(f"{data}-{density}-safecompress", results)
        - covered(f"{data}-{density}-{other}", results)
        for data in sets
    ]
    return float(np.mean(each))


def sharpened() -> float:
    """Return the strongest AUC over the models whose tests chose sharpened labels."""
    cell = committed("table")["banking77-0.05-safecompress"]
    some = [t for t in cell["targets"] if any("0.1" in move for move in t["lineage"])]
    assert len(some) == 17
    names = some[0]["attacks"]
    return max(float(np.mean([t["attacks"][n]["auc"] for t in some])) for n in names)


def of_kind(method: str, kind: str) -> float:
    """Return what the strongest attack of a kind finds in a defense on Location30."""
    density = 1 if method == "dense" else 0.05
    each = committed("blind_spots")[f"location30-{density:g}-{method}"]["targets"]
    names = [n for n in each[0]["attacks"] if ATTACKS.parts[n].factory.signals == kind]
    return max(float(np.mean([t["attacks"][n]["auc"] for t in each])) for n in names)


def other_accuracy(data: str) -> list[float]:
    return [
        float(np.mean([target["figures"][kind]["accuracy"] for target in targets(data)]))
        for kind in KINDS
    ]


def shown(value: float) -> str:
    """Return a figure between 0 and 1 as the documents write it."""
    return f"{value:.3f}".removeprefix("0")
