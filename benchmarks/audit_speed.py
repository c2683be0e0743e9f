"""How long do LiRA and RMIA take, shadow models included, next to other tools that have them?

The rows are location30's: 5,010, 446 yes/no features, 30 classes. The target is one model for all;
so are the network (446-512-256-30), 48 epochs of 167 rows a batch with SGD, and the number of
shadow models, each trained on half of the rows. Every side runs in a process of its own, on one
thread, and takes turns with the other. A finished cell is skipped (`cells.py`):

`scoring-PEER-K`: from the outputs of the same K shadow models, in memory, to a score for every row.
Each attack is timed alone, its fastest of three repetitions in a process.

`whole-PEER-K`: training K shadow models, asking each about every row, and scoring: LiRA online
(variance fixed below 64 shadow models, each row's own from there on) and RMIA online and offline,
as far as the peer has them. Each side draws its shadow models itself.

The figure is the peer's CPU seconds over ours, the median of the rounds; wall-clock seconds lie
beside it. The goal is 5, with an AUC that the paired interval does not tell from the peer's.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.audit_speed --peer leakpro \
        --python /path/to/its/venv/bin/python --checkout /path/to/LeakPro

Without `--peer` it prints what there is, and how to get the peers. RMIA is asked alike (γ = 1,
a = 0.3), on the half of the rows that our side judges by; the other half's non-members are the
population, but for LeakPro, which draws half of all rows.

What the stored cells say, of two cores that other work kept busy (load 5 to 6); a round of a short
scoring lies up to two thirds from its cell's median:

- LiRA against LeakPro: the goal is met, 8.7 to 48 times as fast; RMIA: missed, 2.4 to 4.5 times.
- Both against PrivacyGuard, RMIA against ML Privacy Meter: missed, 1.3 to 2.2 times. Most of the
  time on every side is log-odds or probabilities out of logits, which for these two the adapter
  computes with NumPy, as their user would. Log-odds without the pass for a row's largest logit were
  tried: a sixth off that part, not worth a second path for logits that overflow.
- Whole, 16 shadow models: missed, 1.2 times (LeakPro) and 1.3 times (ML Privacy Meter), one round
  each. Two thirds of our time are matrix products. 64 were not run whole.
- AUC on the same shadow models: alike or a little higher than LeakPro's (at most 0.0012); online
  alike to 0.0002 with PrivacyGuard. RMIA's offline is lower with the two others: they take it that
  no shadow model saw the population, and our scores computed that way have their AUC, 0.798 and
  0.792. PrivacyGuard's offline LiRA scores both tails. Whole, every side draws its own shadow
  models, which the intervals do not know of.

A side that does not run here leaves its error in the cell; delete the cell to try again.

Not run: `sacroml` 2.0.1 has LiRA, trained and scored in one call, and no adapter yet;
`tensorflow-privacy` 0.9.0 from PyPI has no LiRA and does not import beside TensorFlow 2.21
("cannot import name 'estimator_training'"); `adversarial-robustness-toolbox` has neither attack.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Cell, Cells, add_out
from safecompress.stats import auc, auc_difference

ROOT = Path(__file__).parents[1]
MOST = 64
"""Shadow models that are trained for all sides."""
GOAL = 5.0
WHOLE = ("training", "scoring", "all")
"""Parts of a whole audit that are timed."""

PEERS = {
    "leakpro": (
        "git clone https://github.com/aidotse/LeakPro; in a venv: pip install './LeakPro[mia]'"
    ),
    "privacy_guard": (
        "git clone https://github.com/facebookresearch/PrivacyGuard; in a venv: pip install "
        "./PrivacyGuard"
    ),
    "privacy_meter": (
        "git clone https://github.com/privacytrustlab/ml_privacy_meter; in a venv: pip install "
        "torch torchvision transformers datasets peft scikit-learn pandas matplotlib"
    ),
}
TRAINERS = ("leakpro", "privacy_meter")
"""Peers that train shadow models."""


class PeerError(Exception):
    """One side of the comparison cannot run on this machine."""


@dataclass(frozen=True)
class Side:
    """One of the two tools that are compared and take turns.

    Args:
        name: name of the adapter in `benchmarks/peers`.
        python: path of the interpreter that runs the adapter.
        path: folder that the adapter imports from, besides the interpreter's packages.
    """

    name: str
    python: str
    path: Path

    def take_turn(self, part: str, exercise: Path, shadows: int, *, seed: int) -> Turn:
        """Run the adapter once.

        Raises:
            PeerError: when it fails, with its last line.
        """
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary) / "turn.npz"
            command = [self.python, "-m", f"benchmarks.peers.{self.name}", part]
            command += ["--exercise", str(exercise), "--shadows", str(shadows)]
            alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
            done = subprocess.run(
                [*command, "--seed", str(seed), "--out", str(out)],
                cwd=ROOT,
                env=os.environ | alone | {"PYTHONPATH": str(self.path)},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise PeerError(f"{self.name}: {done.stderr.strip().splitlines()[-1]}")
            times = json.loads(out.with_suffix(".json").read_text())
            with np.load(out) as scores:
                return Turn(times["seconds"], times["peak_mb"], {k: scores[k] for k in scores})


@dataclass(frozen=True)
class Turn:
    """The result of one process.

    Args:
        seconds: for each timed part, its `wall` and `cpu` seconds.
        peak_mb: peak memory in MiB, imported packages included.
        scores: scores (n,) by attack, NaN where a row was not scored.
    """

    seconds: Mapping[str, Mapping[str, float]]
    peak_mb: float
    scores: Mapping[str, np.ndarray]


def main() -> None:
    """Run the cells that have no result yet and print all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", choices=sorted(PEERS))
    parser.add_argument("--python", help="the Python of the peer's venv; torch must be in it")
    parser.add_argument("--checkout", type=Path, help="the peer's repository")
    parser.add_argument("--parts", nargs="+", choices=["scoring", "whole"], default=["scoring"])
    parser.add_argument("--shadows", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side in `scoring`")
    parser.add_argument("--whole-rounds", type=int, default=1, help="turns of each in `whole`")
    add_out(parser, "audit_speed")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "audit_speed")
    options = parser.parse_args()
    if options.peer is None or options.python is None or options.checkout is None:
        for name, how in PEERS.items():
            print(f"{name}: {how}")
    else:
        run_cells(options, parser)
    print_tables(list(Cells(options.out).finished().values()))


def run_cells(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Run a peer's cells that have no result yet."""
    if "whole" in options.parts and options.peer not in TRAINERS:
        parser.error(f"{options.peer} trains no shadow models; leave 'whole' out")
    if max(options.shadows) > MOST:
        parser.error(f"--shadows: at most {MOST}")
    cells = Cells(options.out)
    begin(options.work, parser)
    ours = Side("ours", sys.executable, ROOT / "src")
    peer = Side(options.peer, options.python, options.checkout)
    for part in options.parts:
        for shadows in options.shadows:
            key = f"{part}-{options.peer}-{shadows}"
            if key in cells:
                continue
            rounds = options.rounds if part == "scoring" else options.whole_rounds
            try:
                found = cell((ours, peer), part, options.work, shadows, rounds)
            except PeerError as error:
                found = {"part": part, "peer": peer.name, "shadows": shadows, "error": str(error)}
            cells.write(key, {"benchmark": "audit_speed", **found, **made_with(options.checkout)})
            print(key, flush=True)


def begin(work: Path, parser: argparse.ArgumentParser) -> None:
    """Train the target and the shadow models that all sides are given, unless they are there."""
    if (work / "shadows.npy").exists():
        return
    if "SAFECOMPRESS_DATA" not in os.environ:
        parser.error("say where the data is: SAFECOMPRESS_DATA=FOLDER")
    source = Path(os.environ["SAFECOMPRESS_DATA"]) / "location30" / "location30.npz"
    command = [sys.executable, "-m", "benchmarks.peers.prepare", str(source), str(work), str(MOST)]
    subprocess.run(command, cwd=ROOT, check=True)


def cell(
    sides: tuple[Side, Side], part: str, exercise: Path, shadows: int, rounds: int
) -> dict[str, Any]:
    """Let both sides take turns; return what the cell holds."""
    turns = []
    for number in range(rounds):
        # The order alternates, so that neither side always runs on the caches the other left.
        order = sides if number % 2 == 0 else sides[::-1]
        taken = {s.name: s.take_turn(part, exercise, shadows, seed=number + 1) for s in order}
        turns.append((taken[sides[0].name], taken[sides[1].name]))
    with np.load(exercise / "rows.npz") as rows:
        members = rows["target_seen"]
    shared = [name for name in turns[0][0].scores if name in turns[0][1].scores]
    if part == "scoring":
        timed = {name: seconds_of(turns, [name]) for name in shared}
    else:
        timed = {name: seconds_of(turns, [name]) for name in WHOLE[:2]}
        timed["all"] = seconds_of(turns, WHOLE[:2])
    return {
        "part": part,
        "peer": sides[1].name,
        "shadows": shadows,
        "rounds": rounds,
        "timed": timed,
        "peak_mb": {
            "ours": max(ours.peak_mb for ours, _ in turns),
            "peer": max(peer.peak_mb for _, peer in turns),
        },
        "auc": {name: compared(turns, name, members) for name in shared},
        "load_1_min": round(os.getloadavg()[0], 1),
    }


def seconds_of(turns: Sequence[tuple[Turn, Turn]], names: Sequence[str]) -> dict[str, Any]:
    """Return the summed seconds of some timed parts on both sides, and the median ratios."""
    kinds = ("cpu", "wall")
    each = [
        {kind: [sum(turn.seconds[n][kind] for n in names) for turn in pair] for kind in kinds}
        for pair in turns
    ]
    found: dict[str, Any] = {
        side: {kind: statistics.median(e[kind][place] for e in each) for kind in kinds}
        for place, side in enumerate(("ours", "peer"))
    }
    found["ratio"] = {
        kind: statistics.median(e[kind][1] / e[kind][0] for e in each) for kind in kinds
    }
    found["ratios_cpu"] = [e["cpu"][1] / e["cpu"][0] for e in each]
    return found


def compared(
    turns: Sequence[tuple[Turn, Turn]], name: str, members: np.ndarray
) -> list[dict[str, float]]:
    """Return both AUCs and their paired difference, one entry for every other draw."""
    found = []
    for ours, peer in turns:
        a, b = ours.scores[name], peer.scores[name]
        said = np.isfinite(a) & np.isfinite(b)
        inside, outside = said & members, said & ~members
        difference = auc_difference(a[inside], a[outside], b[inside], b[outside])
        entry = {
            "ours": auc(a[inside], a[outside]),
            "peer": auc(b[inside], b[outside]),
            "difference": difference.value,
            "low": difference.low,
            "high": difference.high,
            "rows": int(said.sum()),
        }
        if entry not in found:
            found.append(entry)
    return found


def made_with(checkout: Path) -> dict[str, Any]:
    """Return the conditions of a measurement besides the code and the processor."""
    asked = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    commit = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {"peer_commit": commit, "cores": os.cpu_count()}


def print_tables(cells: Sequence[Cell]) -> None:
    """Print the finished cells as Markdown."""
    for failed in [c for c in cells if "error" in c]:
        print(f"{failed['part']}, {failed['shadows']} shadow models: {failed['error']}")
    cells = sorted(
        (c for c in cells if "error" not in c), key=lambda c: (c["part"], c["peer"], c["shadows"])
    )
    if not cells:
        return
    print(f"\nOne thread. CPU seconds (wall-clock); goal: {GOAL:g} times as fast.\n")
    print("| peer | shadow models | what | ours | peer | times as fast | peak memory, MiB |")
    print("|---|---|---|---|---|---|---|")
    for one in cells:
        memory = f"{one['peak_mb']['ours']:.0f} / {one['peak_mb']['peer']:.0f}"
        for name in [*WHOLE, *sorted(set(one["timed"]) - set(WHOLE))]:
            if name not in one["timed"]:
                continue
            seconds = one["timed"][name]
            what = f"{one['part']}: {name}"
            spent = [
                f"{seconds[s]['cpu']:.3g} ({seconds[s]['wall']:.3g})" for s in ("ours", "peer")
            ]
            ratio = f"{seconds['ratio']['cpu']:.1f} ({seconds['ratio']['wall']:.1f})"
            columns = [one["peer"], str(one["shadows"]), what, *spent, ratio, memory]
            print(f"| {' | '.join(columns)} |")
    print("\nAUC of the first round; ours minus the peer's, with its paired 95 % interval.\n")
    print("| peer | shadow models | attack | ours | peer | difference |")
    print("|---|---|---|---|---|---|")
    for one in cells:
        for name in sorted(one["auc"]):
            e = one["auc"][name][0]
            difference = f"{e['difference']:+.4f} ({e['low']:+.4f} to {e['high']:+.4f})"
            columns = [one["peer"], str(one["shadows"]), f"{one['part']}: {name}"]
            columns += [f"{e['ours']:.4f}", f"{e['peer']:.4f}", difference]
            print(f"| {' | '.join(columns)} |")


if __name__ == "__main__":
    main()
