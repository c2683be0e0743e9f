"""What would 256 shadow models of 100 million weights on 16 machines wait for?

    python -m benchmarks.cluster [CASE ...]

This is a simulation; no such cluster was used. Machines, file system and network are parameters of
a case, and so is what the program writes and reads. A task reads and hashes the rows, trains, and
writes checkpoints by the program's own rule: at the end of every piece of work, and between them as
soon as the last checkpoint has cost at most `CHECKPOINT_SHARE` of the time since. Then it writes
its outputs of all rows, and in the end one process reads those of all models. Transfers of a
direction share a machine's network and the file system fairly: none gets more while another that
waits for the same thing gets less. Rows that fit into a machine's memory are read once a machine.

A cell is a case: how long everything takes against computing alone, what each resource was busy
with, and the one that was busy longest. Cases that begin with `before` write candidates as dense
tensors and open the rows anew for every model, as the program did at first.

What the stored cells say: writing to the file system saturates first everywhere. With a parallel
file system runs take 1.07 times as long as computing alone before and 1.06 after, with one server
1.16 and 1.10, with a slow one 1.58 and 1.25. Short runs on a slow server take 10.0 times before and
4.3 after; what is left there are the outputs of all rows, 2 TB, which only smaller evidence mends.
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.cells import Cells, add_out
from safecompress.compression.progress import CHECKPOINT_SHARE

READ, WRITE = "read", "write"
Steps = Generator[tuple[str, float], float, None]


@dataclass(frozen=True)
class Machines:
    """A cluster.

    Args:
        count: machines.
        slots: tasks that a machine trains at once, one a GPU.
        network: bytes a second of a machine, each way.
        reading: bytes a second that the file system gives to all machines together.
        writing: bytes a second that it takes from all together.
        hashing: bytes a second that a task hashes.
    """

    count: int = 16
    slots: int = 8
    network: float = 3.1e9
    reading: float = 4e9
    writing: float = 2e9
    hashing: float = 0.5e9


@dataclass(frozen=True)
class Job:
    """What is trained.

    Args:
        models: shadow models.
        weights: bytes of a model's weights in fp32.
        density: share of weights that a sparse candidate keeps.
        rows: rows of the data set.
        row_bytes: bytes of a row.
        classes: classes, so outputs of a row.
        seconds: computing time of a whole run on one GPU.
        dense: share of it for the dense model.
        rounds: rounds of the search.
        candidates: candidates of a round.
        pause: shortest time in seconds between two checkpoints inside a piece of work.
    """

    models: int = 256
    weights: float = 4e8
    density: float = 0.05
    rows: int = 1_000_000
    row_bytes: float = 3 * 64 * 64
    classes: int = 1000
    seconds: float = 4 * 3600
    dense: float = 0.4
    rounds: int = 3
    candidates: int = 3
    pause: float = 30.0


@dataclass(frozen=True)
class Program:
    """How the program works.

    Args:
        packed: whether candidates are stored without their zeros.
        opens_once: whether a process reads and hashes the rows once, and not once a model.
    """

    packed: bool = True
    opens_once: bool = True

    def candidate(self, density: float) -> float:
        """Return what a stored candidate takes, in copies of the dense fp32 weights.

        Args:
            density: share of weights that exist.
        """
        if not self.packed or density == 1:
            # Weights, momentum; a byte a weight for the mask, and one for those that ever existed.
            return 2.0 + (2 * 8 / 32 if not self.packed else 2 / 32)
        # The places of weights and of momentum are stored with them: four bits a weight in all.
        return 2 * density + 4 / 32


@dataclass(frozen=True)
class Case:
    """One simulation.

    Args:
        machines: the cluster.
        job: what is trained.
        program: how the program works.
    """

    machines: Machines = field(default_factory=Machines)
    job: Job = field(default_factory=Job)
    program: Program = field(default_factory=Program)


_BEFORE = Program(packed=False, opens_once=False)
_SLOW = Machines(reading=1e9, writing=0.5e9, network=1.2e9)
CASES = {
    f"{'' if program.packed else 'before-'}{name}": Case(machines, job, program)
    for program in (_BEFORE, Program())
    for name, machines, job in (
        ("parallel-file-system", Machines(reading=2e10, writing=1e10), Job()),
        ("one-server", Machines(), Job()),
        ("slow-server", _SLOW, Job()),
        ("short-runs-slow-server", _SLOW, replace(Job(), seconds=900.0)),
    )
}


def task(case: Case, *, opens: bool, alone: bool) -> Steps:
    """Yield what a task does in turn: `work` for seconds, or a transfer of bytes.

    Args:
        case: the simulation; what is sent back into the generator is how long the last step took.
        opens: whether the task reads and hashes the rows.
        alone: whether it reads them for itself; otherwise its machine's tasks read them together.
    """
    machines, job, program = case.machines, case.job, case.program
    rows = job.rows * job.row_bytes
    if opens:
        yield READ, rows if alone else rows / machines.slots
        yield "work", rows / machines.hashing
    dense, sparse = program.candidate(1.0), program.candidate(job.density)
    each = (1 - job.dense) / (job.rounds * job.candidates)
    pieces = [(job.dense, dense)] + [
        (each, number * sparse)
        for _ in range(job.rounds)
        for number in range(1, 1 + job.candidates)
    ]
    cost = 0.0
    for share, copies in pieces:
        left = share * job.seconds
        while left > 0:
            wait = min(left, max(job.pause, cost / CHECKPOINT_SHARE))
            yield "work", wait
            left -= wait
            cost = yield WRITE, copies * job.weights
    yield WRITE, 2.0 * job.rows * job.classes * 4


def simulate(case: Case) -> dict[str, Any]:
    """Return the cell of a case.

    Args:
        case: the simulation.
    """
    machines, job = case.machines, case.job
    queue, now, moved = job.models, 0.0, {READ: 0.0, WRITE: 0.0}
    busy = dict.fromkeys(("file system, reading", "file system, writing", "network"), 0.0)
    working: list[tuple[float, int]] = []
    places: list[tuple[Steps, int, float] | None] = []
    flows: dict[str, dict[int, float]] = {READ: {}, WRITE: {}}

    def step(place: int, took: float) -> None:
        found = places[place]
        if found is None:
            return
        steps, node, _ = found
        try:
            kind, amount = steps.send(took) if took >= 0 else next(steps)
        except StopIteration:
            places[place] = None
            begin(place, node, first=False)
            return
        places[place] = (steps, node, now)
        if kind == "work":
            heapq.heappush(working, (now + amount, place))
        else:
            moved[kind] += amount
            flows[kind][place] = amount

    def begin(place: int, node: int, *, first: bool) -> None:
        nonlocal queue
        if queue:
            queue -= 1
            opens = first or not case.program.opens_once
            places[place] = (task(case, opens=opens, alone=not first), node, now)
            step(place, -1.0)

    for place in range(machines.count * machines.slots):
        places.append(None)
        begin(place, place // machines.slots, first=True)
    while working or flows[READ] or flows[WRITE]:
        rates = {kind: _rates(flows[kind], places, machines, kind) for kind in flows}
        ends = [
            now + flows[kind][place] / rate for kind in flows for place, rate in rates[kind].items()
        ]
        until = min([*ends, working[0][0]] if working else ends)
        _note(busy, rates, places, machines, until - now)
        for kind, left in flows.items():
            for place in left:
                left[place] -= rates[kind][place] * (until - now)
        now = until
        done = [p for left in flows.values() for p, amount in left.items() if amount <= 1.0]
        for left in flows.values():
            for place in [p for p in done if p in left]:
                del left[place]
        while working and working[0][0] <= now:
            done.append(heapq.heappop(working)[1])
        for place in done:
            found = places[place]
            step(place, now - found[2] if found else 0.0)
    collecting = 2.0 * job.models * job.rows * job.classes * 4
    rate = min(machines.network, machines.reading)
    waves = -(-job.models // (machines.count * machines.slots))
    shares = {name: seconds / now for name, seconds in busy.items()}
    return {
        "case": asdict(case),
        "hours": now / 3600,
        "against_computing_alone": now / (waves * job.seconds),
        "busy": shares,
        "busiest": max(shares, key=lambda name: shares[name]),
        "terabytes": {kind: amount / 1e12 for kind, amount in moved.items()},
        "collecting_hours": collecting / rate / 3600,
    }


def _rates(
    flows: dict[int, float], places: list[Any], machines: Machines, kind: str
) -> dict[int, float]:
    """Return the fair rate of each transfer of a direction, in bytes a second."""
    if not flows:
        return {}
    nodes = np.array([places[place][1] for place in flows])
    many = np.bincount(nodes, minlength=machines.count)[nodes]
    most = machines.network / many
    total = machines.reading if kind == READ else machines.writing
    order = np.argsort(most)
    left, rate = total, np.empty(len(most))
    for rank, index in enumerate(order):
        rate[index] = min(most[index], left / (len(order) - rank))
        left -= rate[index]
    return dict(zip(flows, rate.tolist(), strict=True))


def _note(
    busy: dict[str, float],
    rates: dict[str, dict[int, float]],
    places: list[Any],
    machines: Machines,
    seconds: float,
) -> None:
    """Add the share of each resource that was used for some seconds."""
    names = {READ: "file system, reading", WRITE: "file system, writing"}
    for kind, total in ((READ, machines.reading), (WRITE, machines.writing)):
        busy[names[kind]] += seconds * sum(rates[kind].values()) / total
    nodes = np.zeros(machines.count)
    for found in rates.values():
        for place, rate in found.items():
            nodes[places[place][1]] += rate
    busy["network"] += seconds * float(nodes.mean()) / machines.network


def main() -> None:
    """Simulate the cases that have no cell yet and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    add_out(parser, "cluster")
    given = parser.parse_args()
    cells = Cells(given.out)
    for name in given.cases or CASES:
        if name not in cells:
            cells.write(name, simulate(CASES[name]))
        cell = cells.read(name)
        print(
            f"{name}: {cell['hours']:.1f} h, {cell['against_computing_alone']:.2f} of computing "
            f"alone; {cell['busiest']} busy for {cell['busy'][cell['busiest']]:.0%}; wrote "
            f"{cell['terabytes'][WRITE]:.1f} TB; reads all outputs in "
            f"{cell['collecting_hours']:.1f} h"
        )


if __name__ == "__main__":
    main()
