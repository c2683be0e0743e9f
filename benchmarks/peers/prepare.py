"""Train what every side is given: the target, and shadow models for the scoring alone.

python -m benchmarks.peers.prepare ROWS.npz FOLDER COUNT
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers.exercise import Bools
from benchmarks.peers.ours import SEED, rows_of, trained
from safecompress.cohorts.cohort import DENSE
from safecompress.data import halves
from safecompress.run.folder import DENSE as DENSE_FILE
from safecompress.run.model_file import read_model


def prepare(source: Path, folder: Path, count: int) -> None:
    """Write `target.pt`, `rows.npz`, `seen.npy` and `shadows.npy`, each unless it is there.

    Target and shadow models are drawn apart: who saw a row among the shadow models tells nothing of
    the target.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(source) as file:
        x, y = file["x"].astype(np.float32), file["y"]
    rows = rows_of(x, y)
    if not (folder / "rows.npz").exists():
        cohort = trained(rows, 1, seed=1, folder=folder / "target", keep=True)
        stored = read_model(cohort.folder / "0000" / DENSE_FILE)
        torch.save(dict(stored.weights), folder / "target.pt")
        seen = cohort.plan.seen(1)[0].numpy()
        target = cohort.logits(0, DENSE).numpy()
        population, judged = population_and_judged(seen)
        masks = {"target_seen": seen, "population": population, "judged": judged}
        np.savez(folder / "rows.npz", x=x, y=y, target=target, **masks)
    if not (folder / "shadows.npy").exists():
        cohort = trained(rows, count, seed=2, folder=folder / "cohort")
        np.save(folder / "seen.npy", cohort.plan.seen(count).numpy())
        logits = [cohort.logits(k, DENSE).numpy() for k in range(count)]
        np.save(folder / "shadows.npy", np.stack(logits))


def population_and_judged(seen: Bools) -> tuple[Bools, Bools]:
    """Return the fit half's non-members and the score half, as our side halves the rows."""
    members, ids = torch.from_numpy(seen), torch.arange(len(seen))
    fit = torch.zeros(len(seen), dtype=torch.bool)
    for group in (members, ~members):
        fit[group] = halves(ids[group], seed=SEED)
    return (fit & ~members).numpy(), (~fit).numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    prepare(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
