"""Does a test that chooses the model beat chance, and every fixed way of being as small?

A cell is one method on one data set, density and seed: a whole run of `safecompress.compress`,
judged on sealed rows that steered nothing. Every method starts from the same dense model and spends
the same training: as many optimizer steps as SafeCompress takes with its candidates and its
teachers, spread over a longer path of as many rounds. A finished cell is skipped (`cells.py`).
Dense models and teachers are kept in `--work` and shared by the methods.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.selection location30 --seeds 200 201

Named in advance: the figure is TM = accuracy / AUC of the strongest of three attacks (loss,
modified entropy, neural), on the sealed rows; the test is the paired t-test over seeds of
SafeCompress minus the other method, two-sided, at .05, Holm-corrected over the methods of a data
set and density. Methods and settings were chosen on seeds 0 to 9, and on 100 to 102: a confirmation
that began there was broken off because its selection came too early. Seeds from 200 on are the
confirmation, run once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import ttest_1samp

from benchmarks.cells import Cells, add_out
from benchmarks.selection_methods import METHODS, REFERENCE
from benchmarks.sets import FP32, RECIPES, SETTINGS
from safecompress import compress, load_config
from safecompress.compression.pipeline import copy_stages
from safecompress.compression.requirements import needs_teachers
from safecompress.compression.schedule import Schedule, round_sizes
from safecompress.compression.teachers import teachers_steps
from safecompress.config import CompressConfig, dump_yaml
from safecompress.run.folder import VERDICT, RunFolder
from safecompress.stats import holm
from safecompress.train import steps_per_epoch
from safecompress.verdict_names import COMPRESSED, DENSE
from safecompress.verdicts.read import read_verdict

DENSITIES = (0.05, 0.1)
CONFIRMED = 200
"""First seed of the confirmation."""
ATTACKS = ("loss", "modified-entropy", "neural")


def main() -> None:
    """Run the cells that have no result yet and print the tables of all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "data", nargs="*", choices=[*SETTINGS, []], help="which sets; none only prints"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument("--densities", type=float, nargs="*", default=list(DENSITIES))
    parser.add_argument("--methods", nargs="*", choices=list(METHODS))
    add_out(parser, "selection")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "selection")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cells = Cells(options.out)
    methods = options.methods or [n for n, m in METHODS.items() if m.role == "main"]
    for name in options.data:
        for seed in options.seeds:
            for density in options.densities:
                for method in methods:
                    key = f"{name}-{density:g}-{method}-seed{seed}"
                    if key not in cells:
                        cell = run_cell(name, density, method, seed, work=options.work)
                        cells.write(key, cell)
                        print(f"{key}: {cell['seconds']:.0f} s", flush=True)
    print_tables(list(cells.finished("*-seed*").values()))


def run_cell(data: str, density: float, method: str, seed: int, *, work: Path) -> dict[str, Any]:
    """Make one run and return what the cell holds."""
    config = configured(data, density, method, seed)
    shared = work / f"{data}-seed{seed}"
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=made(work)) as scratch:
        out = Path(scratch) / "run"
        RunFolder.create(out, dump_yaml(config)).release()
        copy_stages(shared, out)
        compress(resume=out)
        copy_stages(out, shared)
        verdict = read_verdict(out / VERDICT)
    figures = {row.name: row_figures(row.to_json()) for row in verdict.comparison}
    return {
        "benchmark": "selection",
        "data": data,
        "density": density,
        "method": method,
        "seed": seed,
        "role": "developed" if seed < CONFIRMED else "confirmed",
        "steps": spent(config),
        "figures": figures[COMPRESSED],
        "dense": figures[DENSE],
        "lineage": verdict.to_json()["model"]["lineage"],
        "settings": [*SETTINGS[data], *METHODS[method].settings],
        "seconds": time.perf_counter() - started,
    }


def configured(data: str, density: float, method: str, seed: int) -> CompressConfig:
    """Return the cell's configuration, its epochs fitted to the common budget."""
    chosen = METHODS[method]
    common = (
        *SETTINGS[data],
        f"seed={seed}",
        f"sparse.density={density}",
        "baselines=[]",
        "steer.calibrated=false",
        *FP32,
    )
    recipe = RECIPES / f"{data}.yaml"
    config = load_config(recipe, assignments=[*common, *chosen.settings])
    if not chosen.fitted:
        return config
    budget = spent(load_config(recipe, assignments=[*common, *METHODS[REFERENCE].settings]))
    # The steps spent rise with the epochs, so bisection finds the epochs that fit the budget.
    sparse = config.sparse
    low = (sparse.settle_epochs or 0.1) * max(1, sparse.rounds) / sparse.end
    high = 64 * sparse.train.epochs
    for _ in range(40):
        epochs = (low + high) / 2
        tried = load_config(
            recipe, assignments=[*common, *chosen.settings, f"sparse.train.epochs={epochs}"]
        )
        if spent(tried) > budget:
            high = epochs
        else:
            low = epochs
    return load_config(
        recipe, assignments=[*common, *chosen.settings, f"sparse.train.epochs={low}"]
    )


def spent(config: CompressConfig) -> int:
    """Return the optimizer steps of a run after its dense model: teachers, candidates and path."""
    members = members_of(config)
    each = steps_per_epoch(members, config.sparse.train)
    total = round(config.sparse.train.epochs * each)
    clock = Schedule.of(config.sparse, steps_per_epoch=each, total=total)
    steps = clock.training_steps(round_sizes(config))
    if needs_teachers(config):
        train = config.teachers.train or config.dense or config.sparse.train
        steps += teachers_steps(members, config.teachers, train)
    return steps


def members_of(config: CompressConfig) -> int:
    """Return the number of members of a recipe that states it as a count."""
    members = None if config.data is None else config.data.split.members
    if not isinstance(members, int):
        raise TypeError(f"data.split.members is {members!r}; expected a count")
    return members


def made(folder: Path) -> Path:
    """Return a folder, which is created if it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def row_figures(row: Mapping[str, Any]) -> dict[str, float]:
    """Return one model's sealed figures."""
    values = {name: estimate["value"] for name, estimate in row["attacks"].items()}
    strongest = max(values[f"{attack}.auc"] for attack in ATTACKS)
    # Only methods steered by white-box attacks have their figures, so these judge no method.
    accuracies = [
        value
        for name, value in values.items()
        if name.endswith("balanced-accuracy") and name.rsplit(".", 1)[0] in ATTACKS
    ]
    accuracy = row["accuracy"]["value"]
    return {
        "accuracy": accuracy,
        **values,
        "strongest.auc": strongest,
        "strongest.balanced-accuracy": max(accuracies),
        "tm": accuracy / max(accuracies),
        "tm.auc": accuracy / strongest,
    }


def print_tables(cells: Sequence[Mapping[str, Any]]) -> None:
    """Print one table per data set, density and role."""
    groups = sorted({(c["data"], c["density"], c["role"]) for c in cells})
    print("Sealed rows; mean over seeds ± standard deviation between seeds; p: paired t-test of TM")
    print("with AUC, SafeCompress minus the method, on the seeds both have, Holm-corrected.")
    for data, density, role in groups:
        chosen = [c for c in cells if (c["data"], c["density"], c["role"]) == (data, density, role)]
        print(f"\n{data}, density {density:g}, {role}")
        print(table(chosen))


def table(cells: Sequence[Mapping[str, Any]]) -> str:
    """Return a data set's table at one density, in Markdown."""
    seeds = {
        name: {c["seed"]: c["figures"] for c in cells if c["method"] == name} for name in METHODS
    }
    dense = {c["seed"]: c["dense"] for c in cells}
    compared = {
        name: compared_to_reference(seeds[REFERENCE], seeds[name])
        for name in METHODS
        if name != REFERENCE and METHODS[name].role == "main"
    }
    corrected = holm({name: c["p"] for name, c in compared.items() if c is not None})
    lines = [
        "| method | seeds | accuracy | strongest AUC | balanced accuracy | TPR@1 % | TM "
        "| TM with AUC | SafeCompress minus this | p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in {"dense": dense, **seeds}.items():
        if not found:
            continue
        figures = [
            spread([f[key] for f in found.values()])
            for key in (
                "accuracy",
                "strongest.auc",
                "strongest.balanced-accuracy",
                "modified-entropy.tpr@0.01",
                "tm",
                "tm.auc",
            )
        ]
        against = compared.get(name)
        last = ["", ""]
        if against is not None:
            last = [f"{against['mean']:+.3f}, ahead in {against['ahead']} of {against['n']}"]
            last.append(f"{corrected[name]:.2g}")
        lines.append("| " + " | ".join([name, str(len(found)), *figures, *last]) + " |")
    return "\n".join(lines)


def compared_to_reference(
    reference: Mapping[int, Mapping[str, float]], other: Mapping[int, Mapping[str, float]]
) -> dict[str, Any] | None:
    """Return the paired differences of TM with AUC and their test; None below two seeds."""
    shared = sorted(set(reference) & set(other))
    if len(shared) < 2:
        return None
    differences = np.array([reference[s]["tm.auc"] - other[s]["tm.auc"] for s in shared])
    return {
        "n": len(shared),
        "mean": float(differences.mean()),
        "ahead": int((differences > 0).sum()),
        "p": float(ttest_1samp(differences, 0.0).pvalue),
    }


def spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return f"{np.mean(values):.3f} ± {deviation:.3f}"


if __name__ == "__main__":
    main()
