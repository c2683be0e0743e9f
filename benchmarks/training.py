"""How fast does the trainer train, next to itself without masks and next to a plain loop?

Five kinds of cells, each skipped when it is finished (`cells.py`):

- `masks`: our trainer with a mask of 5 % against our trainer with the dense one. Goals: at most
  3 % slower for AlexNet and the small CNN (`vgg-small`), 4 % for the two MLPs, 10 % for text models
  (an encoder of two layers, and MiniLM where the environment variable MINILM names its folder),
  which also keep half of their weights, as the shipped recipes do.
- `loop`: our trainer with its automatic choice against a plain fp32 loop of the same model and
  batch size: a DataLoader over a TensorDataset, torch.optim.SGD as it comes, weights multiplied by
  their masks after every step. Goals: 2 times as fast for the small CNN, 1.4 times for AlexNet and
  for the MLP of 1.3 million weights, slower for none.
- `update`: seconds of one mask update of ResNet-18, 11 million weights.
- `stack`: five candidates with masks of 5 % trained as one stack against one by one. The trainer
  stacks where a step is small (`LARGEST_STEP` in `train/stack.py`).
- `candidates`: a whole run on Location30 in which four mask strategies give candidates every round,
  against one that follows RigL alone; dense training, baseline and verdict included in both. Goal:
  at most 2.2 times as long. Needs `SAFECOMPRESS_DATA`.

    OMP_NUM_THREADS=1 python -m benchmarks.training

Both sides of a comparison take turns for a few tenths of a second on one thread each. Time is the
CPU time of the process, which other work on the machine disturbs least; the result is the median of
the turns' ratios. The sides of `loop` are two processes, because the trainer sets up memory for
its whole process.

The stored cells are of two machines, and their keys begin with the vector instructions that torch
uses: `avx512`, an AMD
EPYC that multiplies bf16 numbers, quiet; and `avx2`, an older one that does not, kept busy by other
work. The quartiles of a cell's turns lie 3 to 10 % from its median, so differences below 5 % mean
nothing.

With bf16 every goal is met. Loop, with masks of 5 %: the MLP of 1.3 million weights is 5.5 times as
fast as the plain loop, AlexNet 2.7, the MLP of Location30 2.6, ResNet-8 2.5, the small CNN 2.3,
ResNet-20 2.1, ResNet-18, VGG-C and VGG-16 1.6, 1.6 and 1.4. Dense: 3.5, 1.4, 2.1, 2.5, 2.4, 2.3 and
1.6, 1.6, 1.5. Dense AlexNet has its 1.40 with quartiles of 1.34 and 1.49. Masks make no step
longer: 0.29 and 0.55 of the dense step for the MLPs, 0.44 for AlexNet, 0.94 for the small CNN, all
in fp32. A run of four candidates takes 1.7 times as long as one path. What is chosen differs: bf16
for dense models, and for masked ones fp32 with the existing weights alone where layers are large
(AlexNet, both MLPs). The trainer of the stored cells chose by timing; `benchmarks/arithmetic.py`
compares that with the rule by which it chooses now. A stack of five is 2.0 times as fast at 4,000
weights and no faster at 52,000.

On the older machine, with masks: AlexNet 3.1, VGG-16 1.77, VGG-C 1.48, ResNet-8, -18 and -20 1.46,
1.43 and 1.25, the small CNN 1.31, the MLP of 1.3 million weights 1.36. Dense: that MLP 1.48, the
small CNN 1.15 to 1.22, AlexNet 0.99 to 1.00, all others 1.04 to 1.68. Masks: AlexNet's step takes
0.30 of the dense one's time, the small CNN's 0.81, the MLPs' 1.037 and 1.017. Four candidates take
1.87 times as long as one path; a stack is 2.3 times as fast at 4,000 weights and 1.5 at 52,000. So
there AlexNet's goal is met with masks and the large MLP's nearly, dense the large MLP's alone, and
the small CNN's neither way.

Text models, on the older machine: with a mask of 5 % a step of the encoder takes 0.84 and one of
MiniLM 0.76 of the dense one's time, with half of the weights 1.00 and 1.08 (quartiles 0.94 and
1.15), so the goal of 1.10 is met, MiniLM's narrowly: vectors of half of 22 million weights are
copied into and out of their parameters at every step, 47 ms of 850, and AdamW saves 16 of these.
Timed in turns of two steps, each of which begins with a candidate, it was 1.11.

Tried for the goals that the older machine misses; times as fast as the plain loop, one process a
side:

- channels_last: small CNN 1.00, AlexNet 1.12 at 128 rows a batch; slower at 64.
- freed memory kept for the next step: small CNN 1.03, AlexNet 1.02; in use.
- both: small CNN 1.28 and 1.32, AlexNet 1.15 at 128 rows a batch; ResNet-8 1.59.
- torch.compile on top of both: small CNN 1.21 where 1.32 was without; 70 s of compiling.
- huge pages (THP_MEM_ALLOC_ENABLE=1): no clear gain, but timed without taking turns.
- flushing denormal numbers: no difference for a sparse MLP (1.19 and 1.19).

Convolutions take 85 to 95 % of AlexNet's step and 68 % of the small CNN's. The small CNN computes
14.8 billion operations a step, at least 0.17 s at the 85 to 89 billion a second that matrix
products of this core reach; the plain loop takes 0.28 to 0.31 s. Twice as fast would pass that
peak: with fp32 on this kind of core the goal needs fewer operations, as Winograd's convolution has,
which was not tried. With masks, products with the existing weights alone pay where images are
small: its layers of 64 and 128 channels gain, those of 32 have too many weights left (9 to 77 %) on
too large images, and what is no convolution stays. A sparse matrix times the activations, shifted
once for each place of the kernel, makes 5 to 9 billion operations a second against 40 to 70 of a
dense product: no gain above a tenth of the weights. Convolutions of 2 x 2 and 4 x 4 images as dense
products of the windows that hold pixels took 1.2 to 1.5 times as long.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import Cell, Cells, add_out
from benchmarks.sets import FP32
from benchmarks.training_sides import SUBJECTS, Turn, plain_loop, topology, trainer, turn_of
from safecompress import compress, load_config
from safecompress.proposals import PROPOSALS
from safecompress.protocols import ProposalContext
from safecompress.train import Arithmetic

DENSITY = 0.05

WORDS = tuple(name for name, subject in SUBJECTS.items() if subject.words)
LOOPED = tuple(name for name in SUBJECTS if name not in {"mlp-4k", "mlp-52k", *WORDS})
MASKED = ("mlp", "mlp-1.3m", "alexnet", "vgg-small")
LONG = 30
"""Times as long a turn of a text model is: loading a candidate of millions of weights takes as long
as a step, and a turn of two steps would measure it."""
HALF = 0.5
"""Share of weights in the masks of text models, besides `DENSITY`: that of the shipped recipes."""
STACKED = ("mlp-4k", "mlp-52k", "mlp")
AUGMENTED = ("alexnet", "vgg-small", "resnet8")
UPDATES = ("rigl", "set")
SIDES = ("1.0", str(DENSITY), str(HALF), "plain", "ours", "apart", "stack", "four", "one")
"""Names of the sides that are compared, a pair for each kind of cell."""
FOUR = (
    "[rigl,set,{update: {drop: magnitude, grow: random-unfired}},"
    "{update: {drop: taylor, grow: gradient}}]"
)


def main() -> None:
    """Run the cells that have no result yet and print the table of all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_out(parser, "training")
    parser.add_argument("--turns", type=int, default=9, help="turns of each side in `loop`")
    parser.add_argument("--seconds", type=float, default=0.3, help="CPU seconds of a turn")
    options = parser.parse_args()
    torch.set_num_threads(1)
    finished = Cells(options.out)
    for name, run in cells(options.turns, options.seconds):
        key = f"{capability().lower()}-{name}"
        if key not in finished:
            finished.write(key, {"benchmark": "training", "cell": name, **run()})
            print(key, flush=True)
    for key, cell in finished.finished().items():
        print(line(key, cell))


def cells(turns: int, seconds: float) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield every cell's name and what runs it."""
    for name in MASKED:
        yield f"masks-{name}", lambda n=name: masks(n, turns=6 * turns, seconds=seconds / 4)
    for name, density in product(WORDS, (DENSITY, HALF)):
        yield (
            f"masks-{name}-{density:g}",
            lambda n=name, d=density: masks(n, d, turns=turns, seconds=LONG * seconds),
        )
    for name in LOOPED:
        for density in (1.0, DENSITY):
            yield (
                f"loop-{name}-{density:g}",
                lambda n=name, d=density: loop(n, d, "none", turns=turns, seconds=seconds),
            )
    for name in AUGMENTED:
        yield (
            f"loop-{name}-1-augmented",
            lambda n=name: loop(n, 1.0, "crop-flip", turns=turns, seconds=seconds),
        )
    for name in STACKED:
        yield f"stack-{name}", lambda n=name: stacked(n, turns=turns, seconds=seconds)
    for name in UPDATES:
        yield f"update-{name}", lambda n=name: update(n, turns=turns)
    if "SAFECOMPRESS_DATA" in os.environ:
        yield "candidates-location30", lambda: candidates(turns=max(2, turns // 3))


def masks(name: str, density: float = DENSITY, *, turns: int, seconds: float) -> dict[str, Any]:
    """Compare one step with a mask and with the dense one, in fp32 and one layout.

    Of text models both sides compute as the trainer chooses, because where products with the
    existing weights alone pay is part of the question.
    """
    words = bool(SUBJECTS[name].words)
    sides = {
        d: turn_of(trainer(SUBJECTS[name], "none", None if words else Arithmetic(), d), d)
        for d in (1.0, density)
    }
    times = take_turns(
        {str(d): lambda steps, t=turn: timed(t, steps) for d, turn in sides.items()},
        turns=turns,
        seconds=seconds,
    )
    return {"subject": name, "density": density, **compared(times, of=str(density), to="1.0")}


def loop(name: str, density: float, augment: str, *, turns: int, seconds: float) -> dict[str, Any]:
    """Compare a plain loop's step with ours."""
    context = multiprocessing.get_context("spawn")
    pipes, settings = {}, None
    for side in ("plain", "ours"):
        pipes[side], theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, side, name, density, augment)).start()
        settings = pipes[side].recv()
    times = take_turns(
        {side: lambda steps, p=pipe: asked(p, steps) for side, pipe in pipes.items()},
        turns=turns,
        seconds=seconds,
    )
    for pipe in pipes.values():
        pipe.send(0)
    result = compared(times, of="plain", to="ours")
    result["speedup"] = result.pop("ratio")
    return {
        "subject": name,
        "density": density,
        "augment": augment,
        "settings": settings,
        **result,
    }


def update(name: str, *, turns: int) -> dict[str, Any]:
    """Time one mask update, all layers together."""
    made = trainer(SUBJECTS["resnet18"], "none", Arithmetic())
    parent = made.start(topology(made._module, DENSITY))
    g = torch.Generator().manual_seed(0)
    gradient = {k: torch.randn(m.shape, generator=g) for k, m in parent.topology.masks.items()}
    proposal = PROPOSALS.build(name, where="training")
    times = []
    for _ in range(turns):
        started = time.process_time()
        proposal(parent, ProposalContext(gradient, 0.0, 0))
        times.append(time.process_time() - started)
    return {"subject": "resnet18", "seconds": statistics.median(times)}


def stacked(name: str, *, turns: int, seconds: float) -> dict[str, Any]:
    """Compare five candidates with masks of 5 % trained one by one and as one stack."""
    made = trainer(SUBJECTS[name], "none", Arithmetic())
    sides = {}
    for side, train in (
        ("apart", lambda cs, steps: [made.train(c, steps) for c in cs]),
        ("stack", made.train_together),
    ):
        state = [[made.start(topology(made._module, DENSITY)) for _ in range(5)]]

        def turn(steps: int, state: list[Any] = state, train: Any = train) -> None:
            state[0] = train(state[0], steps)

        sides[side] = turn
    times = take_turns(
        {side: lambda steps, t=turn: timed(t, steps) for side, turn in sides.items()},
        turns=turns,
        seconds=seconds,
    )
    result = compared(times, of="apart", to="stack")
    result["speedup"] = result.pop("ratio")
    weights = sum(p.numel() for p in made._module.parameters())
    return {"subject": name, "weights": weights, "batch": SUBJECTS[name].batch, **result}


def candidates(*, turns: int) -> dict[str, Any]:
    """Compare a run of four candidates a round with a run of one path, seed by seed."""
    recipe = Path(__file__).parents[1] / "recipes" / "location30.yaml"

    def run(proposals: str, seed: int) -> float:
        search = ("steer.search=every-round", f"steer.proposals={proposals}")
        config = load_config(recipe, assignments=[f"seed={seed}", *FP32, *search])
        started = time.process_time()
        with tempfile.TemporaryDirectory() as scratch:
            compress(config=config, out=Path(scratch) / "run")
        return time.process_time() - started

    times = {
        name: [run(proposals, seed) for seed in range(turns)]
        for name, proposals in (("four", FOUR), ("one", "[rigl]"))
    }
    result = compared(times, of="four", to="one")
    whole = {name: took / 1e3 for name, took in result.pop("milliseconds").items()}
    return {"subject": "location30", "run_seconds": whole, **result}


def serve(pipe: Connection, side: str, name: str, density: float, augment: str) -> None:
    """Train as many steps as the pipe asks for and answer with their times, until it asks for 0."""
    torch.set_num_threads(1)
    if side == "ours":
        made = trainer(SUBJECTS[name], augment, None, density)
        turn = turn_of(made, density)
        turn(2)
        pipe.send(made.settings.to_json())
    else:
        turn = plain_loop(SUBJECTS[name], density, augment)
        turn(2)
        pipe.send(None)
    while steps := pipe.recv():
        pipe.send(timed(turn, steps))


def timed(turn: Turn, steps: int) -> float:
    """Return the CPU seconds of one step."""
    started = time.process_time()
    turn(steps)
    return (time.process_time() - started) / steps


def asked(pipe: Connection, steps: int) -> float:
    """Return what a process at the other end of the pipe measured."""
    pipe.send(steps)
    seconds: float = pipe.recv()
    return seconds


def take_turns(
    sides: dict[str, Callable[[int], float]], *, turns: int, seconds: float
) -> dict[str, list[float]]:
    """Return the seconds of a step in every turn by side; the side that runs first alternates."""
    first = max(side(2) for side in sides.values())
    steps = max(2, round(seconds / first))
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            times[name].append(sides[name](steps))
    return times


def compared(times: dict[str, list[float]], *, of: str, to: str) -> dict[str, Any]:
    """Return both sides' milliseconds a step and the turns' median ratio, with quartiles."""
    ratios = [a / b for a, b in zip(times[of], times[to], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4)
    return {
        "milliseconds": {name: 1e3 * statistics.median(t) for name, t in times.items()},
        "turns": len(ratios),
        "ratio": statistics.median(ratios),
        "quartiles": [low, high],
    }


def capability() -> str:
    """Return the vector instructions that torch uses here, as `AVX2` or `AVX512`."""
    return torch.backends.cpu.get_cpu_capability()


def line(key: str, cell: Cell) -> str:
    """Return one cell's row of the table."""
    if "seconds" in cell:
        return f"{key:35} {cell['seconds']:.3f} s"
    found, unit = cell.get("milliseconds"), "ms"
    if found is None:
        found, unit = cell["run_seconds"], "s"
    times = ", ".join(f"{name} {found[name]:.2f} {unit}" for name in SIDES if name in found)
    value, (low, high) = cell.get("speedup", cell.get("ratio")), cell["quartiles"]
    return f"{key:35} {value:.3f} ({low:.3f} to {high:.3f}); {times}"


if __name__ == "__main__":
    main()
