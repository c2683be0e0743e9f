"""How long do the tests of the loop take, alone, in a round, and beside the published procedure?

Three questions; a finished cell is skipped (`cells.py`):

`metric`: all metric attacks of the registry, each with AUC and balanced accuracy as the loop
computes them, on 60,000 rows × 100 classes and one thread; the goal is less than one second in
all. The logits are made up, and the target's forward pass is not counted. The attacks share what
they read off the outputs, and whichever comes first pays for it; `alone` is an attack that shares
with nobody.

`RECIPE-seed…`, `round`: the tests' share of a round's wall time, in a run of a recipe. A round is
training the parent, settling, outputs, tests; what is written to disk is left out. The goals are
1 % for the metric attacks and 5 % with the neural one. The CIFAR-100 run is shortened: one round
instead of three, of the recipe's length, after one epoch of dense training instead of 24.

`RECIPE-seed…`, `published`: the gate (outputs of the steering rows once, and the neural attack with
its balanced accuracy) against the published procedure on the run's compressed model and the same
rows. The published attacker learns for 100 epochs and runs the target again in each: in batches of
64 + 64 on the rows it learns from, and on the rows that it is judged on, which choose its epoch.
Its outputs do not change from epoch to epoch, so the attacker here reads cached ones and the passes
are made for their time alone; where 100 epochs of them take too long, fewer are made and counted
up. `ratio` is the whole procedure over the gate, `ratio_fit_rows` leaves the passes on the judged
rows out. The goal is 100 at a balanced accuracy no lower than the published attacker's.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.gate

What the stored cells say: metric tests of Location30 take 0.7 to 0.9 % of a round, in the recipe's
batches of 32; in batches of 128, with a quarter of the steps, they took 1.3 to 1.4 %, on processors
with AVX2 and with AVX-512 alike. Of CIFAR-100's round they take 0.03 %; that cell is of the default
search before students. Three quarters of what a candidate's metric tests take are the terms that
all of them share. Without effect were: attack by attack over all candidates, all candidates in one
pass, logarithms in single precision, the top class as the reference, one thread, classes before
rows in memory.

Times are of a machine shared with others: a metric cell and a gate are the best of several
repetitions, the attacks taking turns; a round is summed over the run as it came. Load is recorded.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from benchmarks.cells import Cell, Cells, add_out
from safecompress import compress, load
from safecompress.attacks.metric import MetricAttack
from safecompress.attacks.registry import ATTACKS
from safecompress.checks import Auc, BalancedAccuracy, Subject
from safecompress.config import load_config
from safecompress.data import load_splits
from safecompress.events import Event
from safecompress.protocols import Attack, AttackResult, Outputs, Pool, Rows
from safecompress.randomness import derive, generator
from safecompress.run.folder import CONFIG, read_history
from safecompress.train import predict

RECIPES = Path(__file__).parent.parent / "recipes"
PARTS = ("train", "settle", "outputs", "metric", "neural")
"""Parts of a round whose seconds are summed."""
ROWS, CLASSES, REPETITIONS = 60_000, 100, 15
PUBLISHED_EPOCHS, PUBLISHED_HALF_BATCH = 100, 64


class Recipe(NamedTuple):
    """A run to time: its seeds, what is shortened, and how many epochs of passes are made."""

    seeds: tuple[int, ...]
    shortened: tuple[str, ...]
    passes: int


RUNS = {
    "location30": Recipe((0, 1, 2), (), PUBLISHED_EPOCHS),
    "cifar100-alexnet": Recipe(
        (0,),
        ("dense.epochs=1", "sparse.rounds=1", "sparse.train.epochs=5.33333333", "baselines=[]"),
        2,
    ),
}


def main() -> None:
    """Run the cells that have no result yet and print all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=["metric", *RUNS], default=["metric", *RUNS])
    add_out(parser, "gate")
    options = parser.parse_args()
    if set(options.only) & set(RUNS) and "SAFECOMPRESS_DATA" not in os.environ:
        parser.error("say where the data is: SAFECOMPRESS_DATA=FOLDER")
    finished = Cells(options.out)
    cells: dict[str, Callable[[], dict[str, Any]]] = {}
    if "metric" in options.only:
        cells["metric"] = metric_cell
    for name in [name for name in RUNS if name in options.only]:
        cells |= {
            f"{name}-seed{seed}": lambda name=name, seed=seed: run_cell(name, seed)  # type: ignore[misc]
            for seed in RUNS[name].seeds
        }
    for name, cell in cells.items():
        if name not in finished:
            found = {"benchmark": "gate", "cell": name, **cell(), "machine": machine()}
            finished.write(name, found)
    print_cells(list(finished.finished().values()))


def machine() -> dict[str, Any]:
    """Return the conditions of a measurement besides the code and the processor."""
    return {
        "cores": os.cpu_count(),
        "load_1_min": round(os.getloadavg()[0], 1),
    }


def metric_cell() -> dict[str, Any]:
    """Time every metric attack on made-up outputs, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return time_metric_attacks()
    finally:
        torch.set_num_threads(threads)


def time_metric_attacks() -> dict[str, Any]:
    """Return what the cell of the metric attacks holds."""
    attacks = [ATTACKS.build(name, where="gate") for name in ATTACKS.parts]
    attacks = [attack for attack in attacks if isinstance(attack, MetricAttack)]
    source = generator(0, "benchmark", "gate")
    groups = Pool(made_up(ROWS // 2, 6.0, source), made_up(ROWS // 2, 4.0, source))
    together = [time_attacks(groups, attacks) for _ in range(REPETITIONS)]
    alone = [[time_attacks(groups, [attack])[attack.name] for attack in attacks] for _ in range(5)]
    return {
        "rows": ROWS,
        "classes": CLASSES,
        "threads": 1,
        "repetitions": REPETITIONS,
        "seconds": min(sum(times.values()) for times in together),
        "median_seconds": statistics.median(sum(times.values()) for times in together),
        "attacks": {
            attack.name: {
                "together": min(times[attack.name] for times in together),
                "alone": min(times[i] for times in alone),
            }
            for i, attack in enumerate(attacks)
        },
    }


def made_up(n: int, lead: float, source: torch.Generator) -> Outputs:
    """Return outputs of an imaginary model; members are those with the larger lead."""
    labels = torch.randint(CLASSES, (n,), generator=source)
    logits = 2.0 * torch.randn(n, CLASSES, generator=source)
    logits[torch.arange(n), labels] += lead
    return Outputs(logits, labels, torch.randperm(10 * n, generator=source)[:n])


def time_attacks(groups: Pool[Outputs], attacks: list[Attack]) -> dict[str, float]:
    """Return seconds per attack, as the loop runs them on outputs that it has just computed."""
    fresh = groups.map(lambda o: Outputs(o.logits, o.labels, o.ids))
    subject = Subject.of(fresh, name="gate", density=1.0, seed=0)
    seconds = {}
    for attack in attacks:
        started = time.perf_counter()
        judge(subject.attacked_by(attack))
        seconds[attack.name] = time.perf_counter() - started
    return seconds


def judge(result: AttackResult) -> dict[str, float]:
    """Return the figures that the loop takes of an attack."""
    return {m.name: m.value(result) for m in (Auc(), BalancedAccuracy())}


def run_cell(name: str, seed: int) -> dict[str, Any]:
    """Run a recipe; time its rounds, and the gate and the published procedure on its model."""
    recipe = RUNS[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        training = TrainingTime()
        config = load_config(
            RECIPES / f"{name}.yaml", assignments=[f"seed={seed}", *recipe.shortened]
        )
        compress(config=config, out=folder, on_event=training)
        rounds = round_seconds(read_history(folder), training.seconds)
        model = load(folder)
        assert config.data is not None
        splits = load_splits(config.data, seed=seed, weights_given=False)
        settings = (folder / CONFIG).read_text()
    return {
        "recipe": name,
        "seed": seed,
        "shortened": list(recipe.shortened),
        "config": settings,
        "threads": torch.get_num_threads(),
        "round": shares(rounds),
        "published": against_published(model, splits.steer, seed=seed, passes=recipe.passes),
    }


class TrainingTime:
    """Listens to a run and adds up the seconds for which each round's parents trained."""

    def __init__(self) -> None:
        self.seconds: dict[int, float] = {}
        self._began = time.perf_counter()

    def __call__(self, event: Event) -> None:
        """Add the seconds since the previous event to its round, if a parent trained in them.

        Args:
            event: any event of the run.
        """
        now = time.perf_counter()
        words = str(event.data.get("piece", "")).split()
        if event.kind == "progress" and words[:1] == ["round"] and words[2:3] == ["parent"]:
            number = int(words[1])
            self.seconds[number] = self.seconds.get(number, 0.0) + now - self._began
        self._began = now


def round_seconds(
    history: list[dict[str, Any]], training: dict[int, float]
) -> list[dict[str, float]]:
    """Return each round's seconds by what they were spent on."""
    # Where candidates settle for the whole round, no parent trains before them.
    rounds: dict[int, dict[str, float]] = {
        number: {
            **dict.fromkeys(PARTS, 0.0),
            "train": training.get(number, 0.0),
        }
        for number in {record["round"] for record in history}
    }
    for record in history:
        spent, seconds = rounds[record["round"]], record["seconds"]
        spent["settle"] += seconds["settle"]
        # A candidate that was discarded has not been tested.
        spent["outputs"] += seconds.get("outputs", 0.0)
        for attack, cost in seconds.get("tests", {}).items():
            spent["neural" if attack == "neural" else "metric"] += cost
    return [rounds[number] for number in sorted(rounds)]


def shares(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """Return the seconds of all rounds and the tests' share of them."""
    total = {part: sum(r[part] for r in rounds) for part in rounds[0]}
    without_neural = sum(total.values()) - total["neural"]
    return {
        "rounds": rounds,
        "seconds": total,
        "metric_share": total["metric"] / without_neural,
        "share_with_neural": (total["metric"] + total["neural"]) / sum(total.values()),
    }


def against_published(
    model: nn.Module, rows: Pool[Rows], *, seed: int, passes: int
) -> dict[str, Any]:
    """Time the gate and the published procedure on one model and the same rows."""

    def subject() -> Subject:
        outputs = rows.map(lambda r: predict(model, r))
        return Subject.of(outputs, name="gate", density=1.0, seed=derive(seed, "steer"))

    ours = ATTACKS.build("neural", where="gate")
    gates = []
    for _ in range(5):
        started = time.perf_counter()
        figures = judge(subject().attacked_by(ours))
        gates.append(time.perf_counter() - started)
    seen = subject()
    published = ATTACKS.build("neural-published", where="gate")
    result = seen.attacked_by(published)
    fit = rows.zip(seen.halves, lambda r, mask: r.take(mask))
    judged = rows.zip(seen.halves, lambda r, mask: r.take(~mask))
    fit_pass = statistics.fmean(pass_seconds(model, fit) for _ in range(passes))
    judged_pass = statistics.fmean(pass_seconds(model, judged) for _ in range(passes))
    gate = min(gates)
    learning = result.seconds + PUBLISHED_EPOCHS * fit_pass
    return {
        "rows": seen.halves.map(lambda mask: [int(mask.sum()), int((~mask).sum())]).__dict__,
        "gate": {"attack": repr(ours), "seconds": gate, **figures},
        "published": {
            "attack": repr(published),
            "attacker_seconds": result.seconds,
            "pass_seconds": {"fit": fit_pass, "judged": judged_pass},
            "passes_made": passes,
            "seconds": learning + PUBLISHED_EPOCHS * judged_pass,
            **judge(result),
        },
        "ratio": (learning + PUBLISHED_EPOCHS * judged_pass) / gate,
        "ratio_fit_rows": learning / gate,
    }


@torch.no_grad()
def pass_seconds(model: nn.Module, rows: Pool[Rows]) -> float:
    """Return the seconds of one pass over both groups, side by side in the published batches."""
    started = time.perf_counter()
    longest = max(len(rows.members), len(rows.nonmembers))
    for part in torch.arange(longest).split(PUBLISHED_HALF_BATCH):
        for group in (rows.members, rows.nonmembers):
            model(group.take(part % len(group)).inputs)
    return time.perf_counter() - started


def print_cells(cells: Sequence[Cell]) -> None:
    """Print the finished cells and the goals."""
    for cell in cells:
        print(f"\n{cell['cell']}, {cell['threads']} threads")
        if "attacks" in cell:
            for name in [name for name in ATTACKS.parts if name in cell["attacks"]]:
                seconds = cell["attacks"][name]
                together, alone = seconds["together"], seconds["alone"]
                print(f"  {name:18} {together:.3f} s together, {alone:.3f} s alone")
            print(f"  all {cell['seconds']:.3f} s (goal: below 1)")
            continue
        round_, published = cell["round"], cell["published"]
        spent = ", ".join(f"{part} {round_['seconds'][part]:.2f}" for part in PARTS)
        print(f"  rounds: {spent} s")
        print(f"  metric tests {round_['metric_share']:.2%} of a round (goal: at most 1 %)")
        print(f"  with neural  {round_['share_with_neural']:.2%} of a round (goal: at most 5 %)")
        for name in ("gate", "published"):
            one = published[name]
            figures = f"balanced accuracy {one['balanced-accuracy']:.3f}, AUC {one['auc']:.3f}"
            print(f"  {name:9} {one['seconds']:9.3f} s, {figures}")
        print(
            f"  {published['ratio']:.0f} times as fast, {published['ratio_fit_rows']:.0f} without "
            "passes on the judged rows (goal: 100)"
        )


if __name__ == "__main__":
    main()
