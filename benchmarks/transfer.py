"""How much does a compressed sibling help to attack the model it was made from, before and after?

A cell is one sibling: an architecture, a mechanism and a seed; a finished one is skipped
(`cells.py`). What cells share (full models, independently trained ones, the floor,
the attacks that need no sibling) and the two halves of a cell are kept in `--work`, so a cell that
was cut goes on where it stopped. A cell holds, before unpairing and after it: accuracy with and
without noise that no eye sees, the four similarities, the transfer rates of all attackers in L∞ and
L2, what holding the sibling adds to the same attacker without it, signs of masked gradients, and
the query saving; beside them a second line, the transfer from a net of the same architecture and
other seed that was trained on the full model's members.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.transfer run --architecture alexnet
    python -m benchmarks.transfer show

Cells of `benchmarks/results/transfer` were made by attackers of raw gradients alone, and hold no
gain; those of the attackers of today go to `--out benchmarks/results/transfer-adaptive`.

The defaults are minutes a cell on one core: 20 classes of CIFAR-100, nets of a quarter of their
width, 4,000 questions a row. `--classes 100 --members 10000 --epochs 24 --unpair-epochs 24
--width 0.5 --judged 500 --hunted 100 --budget 10000 --targeted` is the whole of it, for an
accelerator. λ is chosen on rows that judge nothing, and all figures are of rows that nobody trained
or chose on. The questions are asked about the same rows before and after, those that the full model
gets right and that white-box PGD fools it on.

Named in advance: the goal is met by a sibling that adds nothing to an attacker in L2 (the gain's
interval reaches 0, or 90 % of it is gone), whose gradients are not masked, at one point of accuracy
or less, with a query saving whose interval reaches 1; the correlation shown is Spearman's, of the
gradients' cosine and the transfer rate over all siblings, with a bootstrap interval that draws
whole cells.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cells import Cells, add_out
from benchmarks.siblings import MECHANISMS, SHARE
from benchmarks.transfer_bench import HUNTED_IN, Bench, Setting, timed
from benchmarks.transfer_show import LEVEL, LOST_AT_MOST, show
from safecompress.attacks.transfer import (
    QUERY_ATTACKS,
    RADII,
    QuerySaving,
    Surrogates,
    UnitInputModel,
    hunt_down,
    surrogates,
    transferred,
)
from safecompress.attacks.transfer.query_attack import QueryResult
from safecompress.checks.similarity import similarity
from safecompress.defenses.unpair_finished import WEIGHTS, unpaired
from safecompress.errors import UndecidableError
from safecompress.protocols import NORMS, Ball, Rows
from safecompress.randomness import generator
from safecompress.stats import clopper_pearson
from safecompress.train.predict import predict

ARCHITECTURES = ("alexnet", "vgg-small", "resnet8")
COPY_EPOCHS = 20
"""Epochs for which the adaptive attacker trains its noisy copy of the sibling."""
NEAR = Ball("l2", RADII["l2"] / 2)
"""The ball in which the attacker trains a copy adversarially."""
UNSEEN = 0.01
"""Standard deviation of noise that no eye sees, as a fraction of the input range."""


def cells(seeds: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Yield architecture, mechanism and seed of every cell, all of one seed first."""
    for seed in seeds:
        for architecture in ARCHITECTURES:
            for mechanism in MECHANISMS:
                yield architecture, mechanism, seed


def attacked(
    full: nn.Module,
    small: nn.Module,
    bench: Bench,
    hunted: Rows,
    alone: Mapping[str, QueryResult],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return all figures of one pair, as JSON."""
    setting, span = bench.setting, bench.span
    rows = bench.judging.take(torch.arange(setting.judged))
    x = bench.units(rows)
    wrapped = UnitInputModel(full, span), UnitInputModel(small, span)
    known = bench.choosing.take(torch.arange(min(2000, len(bench.choosing))))
    made = surrogates(
        wrapped[1],
        bench.units(known),
        known.labels,
        near=NEAR,
        epochs=COPY_EPOCHS,
        seed=seed,
        full=wrapped[0],
        questions=setting.questions,
    )
    said = predict(small, bench.judging).correct
    found: dict[str, Any] = {
        "accuracy": asdict(clopper_pearson(int(said.sum()), len(said), level=LEVEL)),
        "accuracy_under_noise": _under_noise(wrapped[1], bench, seed=seed),
        "similarity": asdict(similarity(*wrapped, x, rows.labels, level=LEVEL, seed=seed)),
        "transfer": {
            f"{norm}{'-targeted' if targeted else ''}": _transfer(
                wrapped, x, rows.labels, norm, made, targeted, seed
            )
            for norm in NORMS
            for targeted in ((False, True) if setting.targeted else (False,))
        },
    }
    guided = {
        f"{name}{suffix}": result
        for suffix, guide in (
            {"": wrapped[1]} | {f" on {n}": m for n, m in made.held.items()}
        ).items()
        for name, result in asked(full, guide, bench, hunted, seed=seed).items()
    }
    found["queries"] = _questions(guided)
    try:
        found["saving"] = asdict(QuerySaving(alone, guided, seed).saving(level=LEVEL))
    except UndecidableError as error:
        found["saving"] = {"undecidable": str(error)}
    return found


def _transfer(
    pair: tuple[nn.Module, nn.Module],
    x: Tensor,
    labels: Tensor,
    norm: Any,
    made: Surrogates,
    targeted: bool,
    seed: int,
) -> dict[str, Any]:
    ball = Ball(norm, RADII[norm])
    found = transferred(*pair, x, labels, ball=ball, seed=seed, surrogates=made, targeted=targeted)
    gain = asdict(found.gain(level=LEVEL, seed=seed)) if found.without else None
    return asdict(found.rate(level=LEVEL)) | {
        "worst": found.worst,
        "worst_without": found.worst_without if found.without else None,
        "gain": gain,
        "rates": found.rates,
        "masks": list(found.masks),
        "signs": None if found.signs is None else asdict(found.signs),
        "white_box": found.white_box,
        "white_box_full": found.white_box_full,
        "masked": found.masked,
        "rows": len(found.rows),
    }


def _under_noise(small: nn.Module, bench: Bench, *, seed: int) -> dict[str, float]:
    """Return accuracy on the judging rows under noise that no eye sees, with its interval."""
    x, labels = bench.units(bench.judging), bench.judging.labels
    around = torch.randn(x.shape, generator=generator(seed, "unseen"))
    said = predict(small, Rows(x + UNSEEN * around, labels, bench.judging.ids)).correct
    return asdict(clopper_pearson(int(said.sum()), len(said), level=LEVEL))


def asked(
    full: nn.Module, small: nn.Module | None, bench: Bench, rows: Rows, *, seed: int
) -> dict[str, QueryResult]:
    """Run every query attack that needs a guide, or every one that needs none.

    Args:
        full: the model that is queried.
        small: the model that guides the attack, which takes units; None runs the attacks that need
            none.
        bench: the budget of queries and the range of inputs.
        rows: rows near which the attacks look for points that fool the full model.
        seed: of every random decision.
    """
    span = bench.span
    attacks = [QUERY_ATTACKS.build(name, where="query attacks") for name in QUERY_ATTACKS.parts]
    return {
        attack.name: hunt_down(
            attack,
            UnitInputModel(full, span),
            bench.units(rows),
            rows.labels,
            ball=HUNTED_IN,
            seed=seed,
            source=small,
            budget=bench.setting.budget,
        )
        for attack in attacks
        if attack.needs_source == (small is not None)
    }


def _questions(hunted: Mapping[str, QueryResult]) -> dict[str, Any]:
    return {
        name: {"asked": h.asked.tolist(), "solved": h.solved.tolist()} for name, h in hunted.items()
    }


def _hunted(questions: Mapping[str, Any], budget: int) -> dict[str, QueryResult]:
    none = torch.zeros(0)
    return {
        name: QueryResult(none, torch.tensor(q["solved"]), torch.tensor(q["asked"]), budget)
        for name, q in questions.items()
    }


def floor_of(full: nn.Module, stranger: nn.Module, bench: Bench, *, seed: int) -> dict[str, Any]:
    """Return the transfer from an independently trained net, per norm."""
    rows = bench.judging.take(torch.arange(bench.setting.judged))
    pair = UnitInputModel(full, bench.span), UnitInputModel(stranger, bench.span)
    x = bench.units(rows)
    return {
        norm: _transfer(pair, x, rows.labels, norm, Surrogates(), False, seed) for norm in NORMS
    }


def run_cell(architecture: str, mechanism: str, seed: int, bench: Bench) -> dict[str, Any]:
    """Make a sibling, attack with it, unpair it, attack again."""
    full = bench.trained(architecture, seed=seed)
    stranger = bench.trained(architecture, seed=1000 + seed)
    whole, cell = f"{architecture}-{seed}", f"{architecture}-{mechanism}-{seed}"
    floor = bench.kept(f"{whole}-floor", lambda: floor_of(full, stranger, bench, seed=seed))
    # Rows that no number of queries fools would exhaust the budget with and without a guide, and so
    # tell nothing about the saving.
    places = bench.kept(f"{whole}-vulnerable", lambda: bench.vulnerable(full).tolist())
    hunted = bench.judging.take(torch.tensor(places[: bench.setting.hunted]))
    alone = bench.kept(
        f"{whole}-alone", lambda: _questions(asked(full, None, bench, hunted, seed=seed))
    )
    unguided = _hunted(alone, bench.setting.budget)
    with timed(f"making {cell}"):
        small = MECHANISMS[mechanism](full, architecture, bench, seed)
    before = bench.kept(
        f"{cell}-before", lambda: attacked(full, small.module, bench, hunted, unguided, seed=seed)
    )

    def apart() -> dict[str, Any]:
        found = unpaired(
            small.module,
            full,
            bench.splits.members,
            choosing=bench.choosing,
            train=bench.train(SHARE).model_copy(update={"epochs": bench.setting.unpair_epochs}),
            seed=seed,
            weights=bench.setting.weights,
            tolerance=LOST_AT_MOST,
            topology=small.topology,
            transforms=small.transforms,
        )
        figures = attacked(full, found.module, bench, hunted, unguided, seed=seed)
        return {"weight": found.weight, "lost_choosing": asdict(found.lost)} | figures

    after = bench.kept(f"{cell}-after", apart)
    said = predict(full, bench.judging).correct
    return {
        "architecture": architecture,
        "mechanism": mechanism,
        "seed": seed,
        "setting": asdict(bench.setting),
        "judging": len(said),
        "accuracy_full": float(said.double().mean()),
        "floor": floor,
        "queries_alone": alone,
        "before": before,
        "after": after,
    }


def main() -> None:
    """Run the cells that are not finished, or show those that are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("act", choices=["run", "show"])
    add_out(parser, "transfer")
    parser.add_argument("--work", type=Path, default=Path("work-transfer"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--architecture", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--mechanism", nargs="+", choices=MECHANISMS, default=list(MECHANISMS))
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--members", type=int, default=5_000)
    parser.add_argument("--epochs", type=float, default=12)
    parser.add_argument("--unpair-epochs", type=float, default=18)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--judged", type=int, default=200)
    parser.add_argument("--targeted", action="store_true")
    parser.add_argument("--hunted", type=int, default=40)
    parser.add_argument("--budget", type=int, default=4_000)
    parser.add_argument("--questions", type=int, default=0)
    parser.add_argument("--weights", type=float, nargs="+", default=list(WEIGHTS))
    given = parser.parse_args()
    finished = Cells(given.out)
    if given.act == "show":
        show(finished)
        return
    setting = Setting(
        classes=given.classes,
        members=given.members,
        epochs=given.epochs,
        unpair_epochs=given.unpair_epochs,
        width=given.width,
        judged=given.judged,
        targeted=given.targeted,
        hunted=given.hunted,
        budget=given.budget,
        questions=given.questions,
        weights=tuple(given.weights),
    )
    name = "-".join(f"{v:g}" for v in (*list(asdict(setting).values())[:-1], *setting.weights))
    bench = Bench(setting, Path(os.environ["SAFECOMPRESS_DATA"]), given.work / name)
    for architecture, mechanism, seed in cells(given.seeds):
        key = f"{architecture}-{mechanism}-{seed}"
        wanted = architecture in given.architecture and mechanism in given.mechanism
        if not wanted:
            continue
        if key in finished:
            made_with = finished.read(key)["setting"]
            if made_with != json.loads(json.dumps(asdict(setting))):
                raise SystemExit(f"{key}: was made with {made_with}; give another --out")
            continue
        print(key, flush=True)
        finished.write(key, run_cell(architecture, mechanism, seed, bench))


if __name__ == "__main__":
    main()
