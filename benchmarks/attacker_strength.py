"""Are the small attackers at least as strong as the published ones, and does the inside add to it?

A cell is one target model (subject × seed): an MLP 446-512-256-30 on 2,000 members of location30,
dense or pruned to 5 % of its weights half-way. Attackers fit on 1,000 members and 1,000
non-members and are judged on 1,000 members and 1,100 non-members they never saw, all on the same
rows. A finished cell is skipped (`cells.py`).

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.attacker_strength

The small attackers, black-box and white-box, were developed on seeds 0 to 4; seeds 100 to 104 are
the confirmation.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.cells import Cell, Cells, add_out
from safecompress.attacks.registry import ATTACKS
from safecompress.protocols import AttackResult, Evidence, Outputs, Pool, Rows
from safecompress.randomness import permutation, seeded
from safecompress.stats.intervals import auc_interval
from safecompress.stats.paired import auc_difference
from safecompress.train.internals import internals

DEVELOPED = (0, 1, 2, 3, 4)
CONFIRMED = (100, 101, 102, 103, 104)
SUBJECTS = {"dense": None, "magnitude-0.05": 0.05}
ATTACK_NAMES = (
    "loss",
    "confidence",
    "entropy",
    "modified-entropy",
    "neural",
    "neural-published",
    "white-box",
    "white-box-published",
)
SMALL = ("neural", "white-box")
"""The project's small attackers, with which every other attack is compared."""
EPOCHS = 96


def main() -> None:
    """Run the cells that have no result yet and print the table of all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SAFECOMPRESS_DATA"))
    parser.add_argument("--seeds", type=int, nargs="*", default=[*DEVELOPED, *CONFIRMED])
    add_out(parser, "attacker_strength")
    options = parser.parse_args()
    if options.data is None:
        parser.error("say where the data is: --data FOLDER or SAFECOMPRESS_DATA=FOLDER")
    torch.set_num_threads(1)
    cells = Cells(options.out)
    for seed in options.seeds:
        for subject, density in SUBJECTS.items():
            key = f"{subject}-seed{seed}"
            if key in cells:
                continue
            started = time.perf_counter()
            cells.write(key, run_cell(Path(options.data), subject, density, seed))
            print(f"{key}: {time.perf_counter() - started:.0f} s", flush=True)
    print_table(list(cells.finished("*-seed*").values()))


def run_cell(data: Path, subject: str, density: float | None, seed: int) -> dict[str, Any]:
    """Train one target, run every attack on it, and return what the cell's file holds."""
    with np.load(data / "location30" / "location30.npz", allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["x"].astype(np.float32))
        y = torch.from_numpy(arrays["y"].astype(np.int64))
    rows = permutation(len(x), seed, "benchmark", "split")[:4100]
    members, nonmembers = rows[:2000], rows[2000:]
    network = train_target(x[members], y[members], density=density, seed=seed)
    with torch.no_grad():
        outputs = Pool(members, nonmembers).map(lambda i: Outputs(network(x[i]), y[i], i))
    started = time.perf_counter()
    inside = Pool(members, nonmembers).map(lambda i: internals(network, Rows(x[i], y[i], i)))
    seconds = time.perf_counter() - started
    evidence = outputs.zip(inside, lambda o, i: Evidence(o, internals=i))
    halves = outputs.map(lambda o: torch.arange(len(o)) < 1000)
    results = {
        name: ATTACKS.build(name, where="attacker_strength")(evidence, halves=halves, seed=seed)
        for name in ATTACK_NAMES
    }
    scores = {name: judged_scores(result, halves) for name, result in results.items()}
    return {
        "benchmark": "attacker_strength",
        "subject": subject,
        "seed": seed,
        "role": "developed" if seed in DEVELOPED else "confirmed",
        "accuracy": outputs.map(lambda o: float(o.correct.double().mean())).__dict__,
        "attacks": {
            name: {
                "attack": repr(ATTACKS.build(name, where="attacker_strength")),
                "auc": auc_interval(scores[name].members, scores[name].nonmembers).__dict__,
                "seconds": result.seconds,
            }
            for name, result in results.items()
        },
        "internals_seconds": seconds,
        "minus": {
            small: {
                name: auc_difference(
                    scores[small].members,
                    scores[small].nonmembers,
                    scores[name].members,
                    scores[name].nonmembers,
                    level=0.95,
                ).__dict__
                for name in ATTACK_NAMES
                if name != small
            }
            for small in SMALL
        },
    }


def judged_scores(result: AttackResult, halves: Pool[Tensor]) -> Pool[Tensor]:
    """Return the scores of the judged half only, so that all attacks rest on the same rows."""
    return result.scores.zip(halves, lambda s, fit: s[~fit] if len(s) == len(fit) else s)


def train_target(x: Tensor, y: Tensor, *, density: float | None, seed: int) -> nn.Module:
    """Train the MLP; with a density, keep only its largest weights from half the epochs on."""
    with seeded(seed, "benchmark", "init"):
        network = nn.Sequential(
            nn.Linear(446, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 30)
        )
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [EPOCHS // 2, EPOCHS * 3 // 4], 0.1)
    weights = [layer.weight for layer in network if isinstance(layer, nn.Linear)]
    masks = [torch.ones_like(w) for w in weights]
    for epoch in range(EPOCHS):
        if density is not None and epoch == EPOCHS // 2:
            masks = largest(weights, density)
        for batch in permutation(len(x), seed, "benchmark", "epoch", epoch).split(64):
            optimizer.zero_grad()
            cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
            if density is not None and epoch >= EPOCHS // 2:
                with torch.no_grad():
                    for weight, mask in zip(weights, masks, strict=True):
                        weight.mul_(mask)
        schedule.step()
    return network.eval()


def largest(weights: list[Tensor], density: float) -> list[Tensor]:
    """Return masks of the largest magnitudes over all layers together."""
    sizes = torch.cat([w.detach().abs().flatten() for w in weights])
    threshold = sizes.topk(round(density * len(sizes))).values.min()
    return [(w.detach().abs() >= threshold).float() for w in weights]


def print_table(cells: Sequence[Cell]) -> None:
    """Print mean and spread over seeds, and the paired differences to the small attacker."""
    print("Mean over seeds ± standard deviation between seeds; judged on 1,000 + 1,100 rows.")
    for subject in SUBJECTS:
        for role in ("developed", "confirmed"):
            chosen = [c for c in cells if c["subject"] == subject and c["role"] == role]
            if not chosen:
                continue
            accuracy = statistics.fmean(c["accuracy"]["nonmembers"] for c in chosen)
            inside = 1000 * statistics.median(c["internals_seconds"] for c in chosen)
            print(
                f"\n{subject}, {role}, {len(chosen)} seeds, accuracy {accuracy:.3f}, "
                f"internals of 4,100 rows {inside:.0f} ms"
            )
            for small in SMALL:
                print(f"  {'attack':20} {'AUC':15} {'seconds':8} {small} minus this, wins")
                for name in ATTACK_NAMES:
                    print(f"  {name:20} " + table_row(chosen, name, small))


def table_row(cells: Sequence[Cell], name: str, small: str) -> str:
    """Return one attack's row of the table, compared with a small one."""
    found = [c["attacks"][name] for c in cells]
    auc = spread([a["auc"]["value"] for a in found])
    seconds = statistics.median(a["seconds"] for a in found)
    row = f"{auc:15} {seconds:<8.3f}"
    if name == small:
        return row
    differences = [c["minus"][small][name] for c in cells]
    ahead = sum(d["low"] > 0 for d in differences)
    behind = sum(d["high"] < 0 for d in differences)
    value = spread([d["value"] for d in differences])
    return f"{row} {value}, interval above 0 in {ahead}, below in {behind}"


def spread(values: list[float]) -> str:
    """Return mean ± standard deviation."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.3f} ± {deviation:.3f}"


if __name__ == "__main__":
    main()
