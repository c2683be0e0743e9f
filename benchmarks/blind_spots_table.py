"""The tables of the documents on what attacks find in defenses, from committed cells.

A kind of attack finds what the strongest attack of the kind finds, by the mean AUC over a cohort's
targets. It is blind to a defense where that is more than .03 below what the strongest of all kinds
finds. `pair`, the one attack on versions, holds the dense model besides, which the defense may not
have shaped; its figure is shown and counts for nothing else.

    python -m benchmarks.blind_spots_table
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.blind_spots import DATA, METHODS
from benchmarks.cells import Cell, Cells, read_lines
from safecompress.attacks import ATTACKS
from safecompress.files import write_text
from safecompress.protocols import SIGNALS

DOCS = Path(__file__).parents[1] / "docs"
MOST = 0.03
KINDS = tuple(kind for kind in SIGNALS if kind != "versions")
"""The kinds of attack that hold the judged model alone."""
STEERING = ("loss", "modified-entropy", "neural", "calibrated", "six-numbers")
"""Attacks that a search can afford for every candidate."""
_BEGIN = "<!-- Written by `python -m benchmarks.blind_spots_table`; change cells, not this. -->"
_END = "<!-- End of what is written. -->"

Values = NDArray[np.float64]


def strongest(cell: Cell, kind: str) -> tuple[str, Values]:
    """Return the strongest attack of a kind in a cell, and its AUC on each target.

    Args:
        cell: as `safecompress compare` makes it.
        kind: one of `SIGNALS`, of which the cell has an attack.
    """
    targets = cell["targets"]
    found = [
        (name, np.array([target["attacks"][name]["auc"] for target in targets]))
        for name in targets[0]["attacks"]
        if ATTACKS.parts[name].factory.signals == kind
    ]
    return max(found, key=lambda attacked: float(attacked[1].mean()))


def by_kind(cell: Cell) -> dict[str, tuple[str, Values]]:
    """Return of each kind the strongest attack of a cell, the kind that finds most first.

    Args:
        cell: as `safecompress compare` makes it.
    """
    found = {kind: strongest(cell, kind) for kind in KINDS}
    return dict(sorted(found.items(), key=lambda item: -float(item[1][1].mean())))


def blind(cell: Cell) -> tuple[str, ...]:
    """Return the kinds that find more than .03 less than the strongest, in the order of `KINDS`.

    Args:
        cell: as `safecompress compare` makes it.
    """
    found = by_kind(cell)
    most = max(float(aucs.mean()) for _, aucs in found.values())
    return tuple(kind for kind in KINDS if most - float(found[kind][1].mean()) > MOST)


def whole_table(cells: Mapping[str, Cell]) -> str:
    """Return, for each data set, what every kind of attack finds in every defense, as Markdown.

    Args:
        cells: by key.
    """
    parts = []
    for data in DATA:
        rows = [(name, cell) for name, cell in _of(cells, data) if cell is not None]
        if not rows:
            continue
        head = ["defense", "accuracy", *KINDS, "(versions)", "strongest attack", "blind"]
        lines = [f"### {data}", "", _row(head), "|---" * len(head) + "|"]
        lines += [_row(_figures(name, cell)) for name, cell in rows]
        if missing := [name for name, cell in _of(cells, data) if cell is None]:
            lines += ["", f"Not made: {', '.join(missing)}."]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def short_table(cells: Mapping[str, Cell]) -> str:
    """Return, for each defense, its strongest AUC and who is blind to it, as Markdown.

    Args:
        cells: by key.
    """
    made = [data for data in DATA if any(cell is not None for _, cell in _of(cells, data))]
    columns = [
        f"{data}: {what}" for data in made for what in ("accuracy / AUC", "found by", "blind")
    ]
    lines = [_row(["defense", *columns]), "|---" * (len(columns) + 1) + "|"]
    for name in METHODS:
        row = [name]
        for data in made:
            cell = dict(_of(cells, data))[name]
            row += ["–"] * 3 if cell is None else _summary(cell)
        lines.append(_row(row))
    return "\n".join(lines) + "\n"


def steering_table(cells: Mapping[str, Cell]) -> str:
    """Return, for each data set, how well a cheap attack orders recipes, as Markdown.

    A row has Spearman's correlation of what the attack finds, and of what the strongest attack that
    holds the judged model alone finds, over all recipes of the set.

    Args:
        cells: by key.
    """
    found = {data: [cell for _, cell in _of(cells, data) if cell is not None] for data in DATA}
    # Of two recipes every order is one of two, so fewer than three say nothing.
    made = [data for data in DATA if len(found[data]) >= 3]
    head = ["attack that steers", *(f"{data}, {len(found[data])} recipes" for data in made)]
    lines = [_row(head), "|---" * len(head) + "|"]
    for attack in STEERING:
        agree = (agreement(found[data], attack) for data in made)
        lines.append(_row([f"`{attack}`", *(f"{rho:.2f}" for rho in agree)]))
    return "\n".join(lines) + "\n"


def agreement(cells: Sequence[Cell], attack: str) -> float:
    """Return Spearman's correlation of an attack's mean AUC with the strongest attack's.

    Args:
        cells: one a recipe, at least three.
        attack: the attack's name, which every cell has.
    """
    means = [
        np.mean([target["attacks"][attack]["auc"] for target in cell["targets"]]) for cell in cells
    ]
    strongest_means = [next(iter(by_kind(cell).values()))[1].mean() for cell in cells]
    return float(stats.spearmanr(means, strongest_means).statistic)


def _of(cells: Mapping[str, Cell], data: str) -> list[tuple[str, Cell | None]]:
    """Return the cell of every method on a data set; None where there is none."""
    keys = {name: f"{data}-{1 if name == 'dense' else 0.05:g}-{name}" for name in METHODS}
    return [(name, cells.get(key)) for name, key in keys.items()]


def _figures(name: str, cell: Cell) -> list[str]:
    found = by_kind(cell)
    first = next(iter(found.values()))[0]
    dense = strongest(cell, "versions")[1]
    shown = [_span(found[kind][1]) for kind in KINDS]
    others = ", ".join(blind(cell)) or "none"
    return [name, _accuracy(cell), *shown, f"({_span(dense)})", first, others]


def _summary(cell: Cell) -> list[str]:
    kind, (attack, aucs) = next(iter(by_kind(cell).items()))
    others = ", ".join(blind(cell)) or "none"
    return [f"{_accuracy(cell)} / {_span(aucs)}", f"{attack} ({kind})", others]


def _accuracy(cell: Cell) -> str:
    return f"{100 * float(np.mean([target['accuracy'] for target in cell['targets']])):.1f}"


def _span(aucs: Values) -> str:
    """Return a mean with half the width of its 95 % t interval."""
    low, high = stats.ttest_1samp(aucs, 0.0).confidence_interval(0.95)
    return f"{aucs.mean():.3f} ± {(high - low) / 2:.3f}".replace("0.", ".")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def placed(text: str, table: str) -> str:
    """Return a document with a table in the place that its marks keep for it.

    Args:
        text: the document.
        table: Markdown.

    Raises:
        ValueError: when the document does not have the marks once, in order.
    """
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", flags=re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(f"expected one place for a table, from {_BEGIN} to {_END}")
    return pattern.sub(lambda _: f"{_BEGIN}\n\n{table}\n{_END}", text)


def documents() -> dict[Path, str]:
    """Return the documents with the tables of the committed cells, by their paths."""
    cells = read_lines(Cells.of("blind_spots").committed)
    tables = {
        DOCS / "attacks.md": whole_table(cells),
        DOCS / "defenses.md": short_table(cells),
        DOCS / "selection.md": steering_table(cells),
    }
    return {path: placed(path.read_text("utf-8"), table) for path, table in tables.items()}


def main() -> None:
    """Write the tables into the documents."""
    for path, text in documents().items():
        write_text(path, text)


if __name__ == "__main__":
    main()
