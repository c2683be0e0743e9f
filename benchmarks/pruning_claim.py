"""Is pruning a defense? The claim of MIA-Pruning, from the cells of the table.

Wang et al. (IJCAI 2021) report an attack accuracy up to 13.6 % below the dense model's for pruning
by ADMM, with the min-max game in it the lowest, and up to 10 % below that of the min-max game on
the dense model. Their abstract does not say whether these are points or relative; both stand here.

An attack's balanced accuracy, in percent, is that of its best threshold on one half of the rows,
applied to the other. Two attackers: the black-box network of the kind of 2018 (`neural`), and
`strong`, of LiRA, RMIA and the white-box attacker the one with the highest mean accuracy on each
method. Differences are paired over the cohort's targets, with 95 % t intervals.

    python -m benchmarks.pruning_claim
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.cells import Cells

DENSITY = "0.05"
DENSE, MIN_MAX = ("1", "dense"), ("1", "min-max dense")
PRUNED = tuple((DENSITY, m) for m in ("magnitude", "mia-pruning", "mia-pruning + min-max"))
STRONG = ("lira-online", "lira-offline", "rmia", "white-box")
FIGURE = "balanced-accuracy"

Values = NDArray[np.float64]


def claim(finished: Cells) -> str:
    """Return the claim's table as Markdown, of the data sets on which anything was pruned by ADMM.

    A method that a data set does not have is left out of its rows.

    Args:
        finished: the cells of the table.
    """
    head = "| data, method | accuracy | neural | of dense | of min-max | strong | of dense |"
    lines = [head, "|---" * 7 + "|"]
    for data in [key.removesuffix("-1-dense") for key in finished.keys("*-1-dense")]:
        keys = {n: f"{data}-{n[0]}-{n[1]}" for n in (DENSE, MIN_MAX, *PRUNED)}
        cells = {n: finished.read(key) for n, key in keys.items() if key in finished}
        if not {DENSE, *PRUNED[:2]} <= cells.keys():
            continue
        for name, cell in cells.items():
            neural, strong = attacked(cell, ("neural",)), attacked(cell, STRONG)
            game = attacked(cells[MIN_MAX], ("neural",)) if MIN_MAX in cells else None
            accuracy = 100 * float(np.mean([t["accuracy"] for t in cell["targets"]]))
            row = [
                f"{data}, {name[1]}",
                f"{accuracy:.1f}",
                f"{neural.mean():.1f}",
                "" if name == DENSE else fallen(neural, attacked(cells[DENSE], ("neural",))),
                fallen(neural, game) if name in PRUNED and game is not None else "",
                f"{strong.mean():.1f}",
                "" if name == DENSE else fallen(strong, attacked(cells[DENSE], STRONG)),
            ]
            lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def attacked(cell: Mapping[str, Any], attacks: tuple[str, ...]) -> Values:
    """Return the balanced accuracy on each target, percent, of the attack with the highest mean."""
    each = [
        100 * np.array([target["attacks"][attack][FIGURE] for target in cell["targets"]])
        for attack in attacks
    ]
    return max(each, key=lambda values: float(values.mean()))


def fallen(mine: Values, base: Values) -> str:
    """Return how much more accurate an attack is than on another model, in points and relative."""
    difference = mine - base
    low, high = stats.ttest_1samp(difference, 0.0).confidence_interval(0.95)
    points = f"{difference.mean():+.1f} ± {(high - low) / 2:.1f}"
    relative = f"{100 * difference.mean() / base.mean():+.1f} %"
    return f"{points} ({relative})".replace("-", "−")


if __name__ == "__main__":
    print(claim(Cells.of("table")))
