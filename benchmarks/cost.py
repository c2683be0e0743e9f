"""What shadow models cost: a run without and with them against one dense training, by stage.

    SAFECOMPRESS_DATA=/path/to/data OMP_NUM_THREADS=1 python -m benchmarks.cost [SUBJECT ...]

A cell is one subject, a recipe or the demo: seconds of processor time, of this process and on one
thread, which a busy machine disturbs less than it does the clock. A run without shadow models is
taken apart by its stages; then shadow models of it are trained one by one, and side by side. The
price of 16 is theirs times 16, in single runs. Both ways end in the same bits, which the cell
asserts. On n cores the clock shows about an n-th: every core has a process.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.cells import Cells, add_out
from safecompress import compress
from safecompress.cli import demo
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.plan import CohortPlan, every_row
from safecompress.cohorts.shadow_models import shadow_config
from safecompress.config import CompressConfig, load_config
from safecompress.events import Event
from safecompress.files import read_json
from safecompress.run.folder import MODEL, PROVENANCE
from safecompress.run.model_file import read_model
from safecompress.train import Arithmetic

RECIPES = Path(__file__).parent.parent / "recipes"
COUNT = 16
TRIED = 4
"""Shadow models that are trained each way; the price of `COUNT` is computed from theirs."""

SUBJECTS: dict[str, Callable[[], CompressConfig]] = {
    "location30": lambda: load_config(RECIPES / "location30.yaml"),
    "demo": lambda: load_config(Path(demo.__file__).with_name("demo.yaml")),
    "small": lambda: load_config(
        Path(demo.__file__).with_name("demo.yaml"),
    ).model_copy(update={"model": _narrow()}),
}
"""The demo's network has 52,000 weights, that of `small`, on the same rows, has 3,400."""


def _narrow() -> Any:
    made = load_config(Path(demo.__file__).with_name("demo.yaml")).model
    if made is None:
        raise TypeError("the demo names no model")
    return made.model_copy(update={"options": {"hidden": [32, 32]}})


def cpu() -> float:
    """Return the seconds of processor time that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Clock:
    """Adds up processor time by the stage that a run says it has entered."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "start", cpu()

    def listen(self, event: Event) -> None:
        """Note the beginning of a stage.

        Args:
            event: of the run.
        """
        if event.kind == "stage":
            self.stop()
            self._stage = event.data["stage"]

    def stop(self) -> None:
        """Add the time since the last stage began to that stage."""
        now = cpu()
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + now - self._since
        self._since = now


def measure(config: CompressConfig, folder: Path) -> dict[str, Any]:
    """Return a cell.

    Args:
        config: the recipe, without shadow models.
        folder: for the run and its shadow models.
    """
    whole = Clock()
    run = compress(config=config, out=folder / "run", on_event=whole.listen)
    whole.stop()
    made_with, splits = read_json(run.folder / PROVENANCE), run.splits
    dense, sparse = (
        None if made_with.get(key) is None else Arithmetic.from_json(made_with[key])
        for key in ("dense_precision", "precision")
    )
    recipe = shadow_config(config, read_model(run.folder / MODEL), dense=dense, sparse=sparse)
    plan = CohortPlan(
        recipe,
        every_row(splits),
        class_names=splits.class_names,
        members=len(splits.members),
    )
    one_by_one, side_by_side = (Cohort.begin(folder / way, plan) for way in ("one", "side"))
    before = cpu()
    for number in range(TRIED):
        one_by_one.train(number)
    between = cpu()
    side_by_side.train_together(range(TRIED))
    after = cpu()
    for number in range(TRIED):
        kinds = ("compressed", "dense")
        if not all(
            torch.equal(one_by_one.logits(number, k), side_by_side.logits(number, k)) for k in kinds
        ):
            raise AssertionError(f"model {number} depends on what is trained beside it")
    single = sum(whole.seconds.values())
    ways = {"one by one": (between - before) / TRIED, "side by side": (after - between) / TRIED}
    return {
        "stages": whole.seconds,
        "single": single,
        "single_in_dense": single / whole.seconds["dense"],
        "shadow": ways,
        "shadows_in_singles": {way: COUNT * each / single for way, each in ways.items()},
    }


def main() -> None:
    """Make the cells that are missing and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subject", nargs="*", choices=[*SUBJECTS, []], metavar="SUBJECT")
    add_out(parser, "cost")
    asked = parser.parse_args()
    cells = Cells(asked.out)
    torch.set_num_threads(1)
    for subject in asked.subject or SUBJECTS:
        if subject not in cells:
            with tempfile.TemporaryDirectory() as folder:
                cells.write(subject, measure(SUBJECTS[subject](), Path(folder)))
        cell = cells.read(subject)
        stages = ", ".join(f"{name} {s:.1f}" for name, s in cell["stages"].items())
        print(f"{subject}: {stages}; {cell['single_in_dense']:.1f} dense trainings")
        for way, price in cell["shadows_in_singles"].items():
            each = cell["shadow"][way]
            print(f"  {way}: {each:.1f} s a shadow model, {COUNT} cost {price:.1f} single runs")


if __name__ == "__main__":
    main()
