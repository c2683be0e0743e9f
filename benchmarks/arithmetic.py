"""What does choosing precision and memory format by rule cost, against the fastest choice?

A cell is a model with a batch size and a density. It holds the milliseconds of a whole training
step in every precision and memory format, the choice of `safecompress.train.rule`, and the rule's
`regret`: its time over that of the fastest, 1 where the rule chooses the fastest.

    OMP_NUM_THREADS=1 python -m benchmarks.arithmetic

The settings take turns on one thread; time is the CPU time of the process, and a cell's times are
medians of the turns. Keys begin with the vector instructions that torch uses, and with `-bf16`
where they multiply bf16.

The stored cells are of an AMD EPYC that multiplies bf16, kept busy by other work. Over 80 cells the
rule takes 1.006 times as long as the fastest setting (geometric mean), at most 1.15, for steps of 3
and 8 ms in which timings differ by as much; fp32 and contiguous tensors throughout would take 1.23
times, at most 2.3. For MLPs bf16 begins to pay between 20 and 25 million multiplications of a step.
Under masks of 5 % fp32 is faster for all MLPs and AlexNet, where nine tenths of the multiplications
and more are left out, and bf16 for networks in which three quarters and less are.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import torch

from benchmarks.cells import Cell, Cells, add_out
from benchmarks.training import capability, take_turns, timed
from benchmarks.training_sides import IMAGE, SUBJECTS, Subject, trainer, turn_of
from safecompress.train import Arithmetic
from safecompress.train.arithmetic import obstacle
from safecompress.train.rule import multiplies_bf16

CPU = torch.device("cpu")
SETTINGS = tuple(
    f"{precision}/{memory_format}"
    for precision in ("32-true", "bf16-mixed")
    for memory_format in ("contiguous", "channels_last")
)
DENSITIES = (1.0, 0.05)
WIDTHS = (32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (16, 64, 256)
IMAGES = {
    "vgg-small": (8, 32, 128),
    "alexnet": (8, 32, 128),
    "resnet8": (8, 32, 128),
    "resnet20": (8, 32),
    "resnet18": (8,),
    "vgg-c": (8,),
}
NARROW = 0.25
"""Width of the small networks; their images have a quarter of the pixels."""


def subjects() -> Iterator[tuple[str, Subject]]:
    """Yield every model with a batch size, and its name."""
    for width, batch in product(WIDTHS, BATCHES):
        options = {"hidden": (width, width)}
        yield f"mlp-{width}-b{batch}", Subject("mlp", (446,), 30, batch, options)
    for name in ("vgg-small", "resnet8"):
        for batch in IMAGES[name]:
            small = Subject(name, (3, 16, 16), 10, batch, {"width": NARROW})
            yield f"{name}-narrow-b{batch}", small
    for name, batches in IMAGES.items():
        for batch in batches:
            yield f"{name}-b{batch}", Subject(name, IMAGE, SUBJECTS[name].classes, batch)


def cell_of(subject: Subject, density: float, *, turns: int, seconds: float) -> dict[str, Any]:
    """Return one cell.

    Args:
        subject: the model with its batch size.
        density: share of the weights that exist.
        turns: turns of each setting.
        seconds: CPU seconds of a turn.
    """
    ruled = trainer(subject, "none", None, density)
    last = len(subject.shape) == 3 and not obstacle(ruled._module, ruled._stage.batches, CPU)
    formats = ("contiguous", "channels_last") if last else ("contiguous",)
    sides = {
        name_of(settings): turn_of(trainer(subject, "none", settings), density)
        for settings in (Arithmetic(p, f) for p in ("32-true", "bf16-mixed") for f in formats)
    }
    times = take_turns(
        {name: lambda steps, t=turn: timed(t, steps) for name, turn in sides.items()},
        turns=turns,
        seconds=seconds,
    )
    milliseconds = {name: 1e3 * statistics.median(t) for name, t in times.items()}
    chosen = name_of(ruled.settings)
    return {
        "machine": machine(),
        "batch": subject.batch,
        "density": density,
        "chosen": chosen,
        "regret": milliseconds[chosen] / min(milliseconds.values()),
        "milliseconds": milliseconds,
    }


def name_of(settings: Arithmetic) -> str:
    """Return the name of a setting, such as `bf16-mixed/contiguous`."""
    return f"{settings.precision}/{settings.memory_format}"


def machine() -> str:
    """Return the vector instructions that torch uses here, as cells are named by them."""
    return capability().lower() + ("-bf16" if multiplies_bf16(CPU) else "")


def line(key: str, cell: Cell) -> str:
    """Return one cell's row of the table, in Markdown."""
    times = cell["milliseconds"]
    columns = [f"{times[name]:.3g}" if name in times else "–" for name in SETTINGS]
    return " | ".join([f"| {key}", *columns, cell["chosen"], f"{cell['regret']:.2f} |"])


def summary(cells: Mapping[str, Cell]) -> str:
    """Return how far the rule is from the fastest choice, over cells."""
    regrets = sorted(cell["regret"] for cell in cells.values())
    plain = [
        cell["milliseconds"]["32-true/contiguous"] / min(cell["milliseconds"].values())
        for cell in cells.values()
    ]
    worst = max(cells, key=lambda key: cells[key]["regret"])
    return (
        f"{len(cells)} cells: the rule takes {statistics.geometric_mean(regrets):.3f} times as "
        f"long as the fastest setting, at most {regrets[-1]:.2f} ({worst}); always fp32 and "
        f"contiguous would take {statistics.geometric_mean(plain):.3f} times, at most "
        f"{max(plain):.2f}."
    )


def main() -> None:
    """Measure the cells that have no result yet and print the table of all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_out(parser, "arithmetic")
    parser.add_argument("--turns", type=int, default=5, help="turns of each setting")
    parser.add_argument("--seconds", type=float, default=0.15, help="CPU seconds of a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    finished = Cells(options.out)
    for (name, subject), density in product(subjects(), DENSITIES):
        key = f"{machine()}-{name}-{density:g}"
        if key not in finished:
            cell = cell_of(subject, density, turns=options.turns, seconds=options.seconds)
            finished.write(key, cell)
            print(line(key, cell), flush=True)
    print(f"| cell | {' | '.join(SETTINGS)} | rule | regret |\n|{'---|' * (len(SETTINGS) + 3)}")
    for key, cell in finished.finished().items():
        print(line(key, cell))
    everything = finished.finished()
    for name in sorted({cell["machine"] for cell in everything.values()}):
        print(f"{name}: {summary({k: c for k, c in everything.items() if c['machine'] == name})}")


if __name__ == "__main__":
    main()
