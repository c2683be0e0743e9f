"""How much does a compressed sibling help to attack the model it was made from, before and after?

A cell is one sibling: an architecture, a mechanism and a seed. It ends in one JSON file and is
skipped when that file exists; full models and independently trained ones are kept in `--work` and
shared by the cells. A cell holds, before unpairing and after it: accuracy, the four similarities,
the transfer rate of the adaptive attacker in L∞ and L2, whether gradients are masked, and the query
saving; beside them the floor, the transfer from a net of the same architecture and other seed.

    SAFECOMPRESS_DATA=/path/to/data python benchmarks/transfer.py run --members 10000 --epochs 24
    python benchmarks/transfer.py show

Trained on a random subset of CIFAR-100's rows; λ is chosen on rows that judge nothing, and all
figures are of rows that nobody trained or chose on. Named in advance: the goal is met by a sibling
whose transfer falls by 90 % or to the floor's interval, at one point of accuracy or less, with
a query saving whose interval reaches 1; the correlation shown is Spearman's, of the gradients'
cosine and the transfer rate over all siblings, with its bootstrap interval.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import softmax

from safecompress import compress
from safecompress.attacks.transfer import (
    InputRange,
    InUnits,
    query_saving,
    retrained,
    right_on_both,
    transferred,
)
from safecompress.attacks.transfer.adaptive import adaptive_attackers
from safecompress.candidate import SoftTarget
from safecompress.checks.transfer import RADII
from safecompress.config import DataConfig, EngineConfig, ModelConfig, TrainConfig, load_section
from safecompress.data import Splits, load_splits
from safecompress.errors import UndecidableError
from safecompress.files import write_json
from safecompress.models import build_model
from safecompress.protocols import NORMS, Ball, Rows
from safecompress.randomness import derive
from safecompress.similarity import similarity
from safecompress.sparse import initialise
from safecompress.stats import bootstrap_interval, clopper_pearson
from safecompress.topology import Topology, maskable_parameters
from safecompress.train import Trainer
from safecompress.train.predict import predict
from safecompress.unpair import existing, unpaired

RESULTS = Path(__file__).parent / "results" / "transfer"
ARCHITECTURES = ("alexnet", "vgg16", "resnet18")
LEVEL = 0.95
LOST_AT_MOST = 0.01
REDUCED_BY = 0.9


@dataclass(frozen=True)
class Setting:
    """What all cells share.

    Args:
        data: folder that holds `cifar100/cifar100.npz`.
        work: folder for models that cells share.
        members: rows trained on.
        epochs: of the full model; siblings and unpairing take a third.
        width: of every architecture.
        judged: rows attacked by transfer.
        hunted: rows attacked by questions.
        budget: questions about a row.
    """

    data: Path
    work: Path
    members: int
    epochs: float
    width: float
    judged: int
    hunted: int
    budget: int

    @cached_property
    def splits(self) -> Splits:
        """The rows: members, those that choose (steering) and those that judge (reference)."""
        section = {
            "source": {
                "source": "npz",
                "path": str(self.data / "cifar100" / "cifar100.npz"),
                "x": "x_train",
                "y": "y_train",
                "test_x": "x_test",
                "test_y": "y_test",
            },
            "split": {
                "membership": "fresh",
                "rows": 2 * self.members,
                "members": self.members,
                "steer": 0.5,
                "reference": 0.4,
            },
        }
        config = load_section(DataConfig, section, where="data")
        return load_splits(config, seed=0, weights_given=False)

    @property
    def span(self) -> InputRange:
        """Range of the standardised images."""
        fitted = self.splits.preprocessor
        span = None if fitted is None else fitted.input_range
        if span is None:
            raise SystemExit("expected images of 256 grey levels")
        return span

    @property
    def choosing(self) -> Rows:
        """Rows on which λ is chosen, and which the attacker trains his copy on."""
        return self.splits.steer.nonmembers

    @property
    def judging(self) -> Rows:
        """Rows that nobody trained or chose on."""
        rows = self.splits.reference
        if rows is None:
            raise SystemExit("no rows to judge on")
        return rows

    def train(self, share: float = 1.0) -> TrainConfig:
        """Return how models are trained, for a share of the epochs."""
        return TrainConfig(epochs=max(1.0, share * self.epochs), lr=0.05 * share, batch_size=64)

    def made(self, architecture: str, *, seed: int, width: float | None = None) -> nn.Module:
        """Return an untrained model."""
        config = ModelConfig(name=architecture, options={"width": width or self.width})
        shape, classes = self.splits.input_shape, self.splits.classes
        return build_model(config, input_shape=shape, classes=classes, seed=seed)

    def trained(self, architecture: str, *, seed: int) -> nn.Module:
        """Return a full model, from its file where it has one."""
        file = self.work / f"{architecture}-{seed}.pt"
        module = self.made(architecture, seed=seed)
        if file.exists():
            module.load_state_dict(torch.load(file, weights_only=True))
            return module.eval()
        fit(module, self, Topology.dense(module), self.train(), seed=seed)
        self.work.mkdir(parents=True, exist_ok=True)
        torch.save(module.state_dict(), file)
        return module


def fit(
    module: nn.Module,
    setting: Setting,
    topology: Topology,
    train: TrainConfig,
    *,
    seed: int,
    teacher: nn.Module | None = None,
) -> nn.Module:
    """Train a module in place and return it; towards a teacher's answers where there is one."""
    members, soft = setting.splits.members, None
    if teacher is not None:
        soft = softmax(predict(teacher, members).logits, dim=1)
    trainer = Trainer(module, members, train, seed=seed, engine=EngineConfig(), soft_labels=soft)
    start = trainer.start(topology)
    if teacher is not None:
        start = start.evolve(soft_target=SoftTarget(0.9, 4.0))
    trainer.load_(trainer.train(start, trainer.total_steps))
    return module.to("cpu").eval()


Mechanism = Callable[[nn.Module, str, Setting, int], nn.Module]
"""(full model, architecture, setting, seed) -> sibling."""


def magnitude(density: float) -> Mechanism:
    """Return magnitude pruning to a density, then fine-tuning."""

    def made(full: nn.Module, architecture: str, setting: Setting, seed: int) -> nn.Module:
        del architecture
        module = copy.deepcopy(full)
        topology = initialise(
            dict(maskable_parameters(module)),
            density=density,
            distribution="erk",
            method="magnitude-global",
            seed=seed,
        )
        return fit(module, setting, topology, setting.train(1 / 3), seed=seed)

    return made


def distilled(full: nn.Module, architecture: str, setting: Setting, seed: int) -> nn.Module:
    """Return a model of half the width that learnt what the full one says."""
    module = setting.made(architecture, seed=derive(seed, "student"), width=setting.width / 2)
    return fit(module, setting, Topology.dense(module), setting.train(), seed=seed, teacher=full)


def searched(full: nn.Module, architecture: str, setting: Setting, seed: int) -> nn.Module:
    """Return what SafeCompress's loop makes of the full model at a density of 10 %."""
    out = setting.work / f"run-{architecture}-{seed}"
    if (out / "verdict.json").exists():
        from safecompress.load import load

        return load(out, model=lambda: copy.deepcopy(full))
    train = setting.train(1 / 3).model_dump()
    config = {
        "seed": seed,
        "dense": {"epochs": setting.epochs, "lr": 0.05, "batch_size": 64},
        "sparse": {"density": 0.1, "rounds": 2, "train": train},
        "steer": {"proposals": ["rigl", "set"]},
        "baselines": [],
    }
    factory = Given(full)
    return compress(factory, setting.splits, config=config, out=out).model


class Given:
    """Makes copies of a trained model, for a run that trains on from it."""

    def __init__(self, full: nn.Module) -> None:
        self._full = full
        self.__name__ = "given"

    def __call__(self) -> nn.Module:
        """Return a copy."""
        return copy.deepcopy(self._full)


MECHANISMS: dict[str, Mechanism] = {
    "magnitude-50": magnitude(0.5),
    "magnitude-80": magnitude(0.2),
    "magnitude-95": magnitude(0.05),
    "distilled": distilled,
    "safecompress-10": searched,
}
"""Siblings by name. Quantised, channel-pruned and low-rank ones join with one line each."""


def cells(seeds: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    """Yield architecture, mechanism and seed of every cell, all of one seed first."""
    for seed in seeds:
        for architecture in ARCHITECTURES:
            for mechanism in MECHANISMS:
                yield architecture, mechanism, seed


def attacked(full: nn.Module, small: nn.Module, setting: Setting, *, seed: int) -> dict[str, Any]:
    """Return all figures of one pair, as JSON."""
    span = setting.span
    rows = setting.judging.take(torch.arange(setting.judged))
    x = span.units(_tensor(rows))
    wrapped = InUnits(full, span), InUnits(small, span)
    known = setting.choosing.take(torch.arange(min(2000, len(setting.choosing))))
    copied = retrained(wrapped[1], known, span.units(_tensor(known)), epochs=3, seed=seed)
    said = predict(small, setting.judging).correct
    found: dict[str, Any] = {
        "accuracy": asdict(clopper_pearson(int(said.sum()), len(said), level=LEVEL)),
        "similarity": similarity(*wrapped, x, rows.labels, level=LEVEL, seed=seed).to_json(),
        "transfer": {},
    }
    for norm in NORMS:
        ball = Ball(norm, RADII[norm])
        for targeted in (False, True):
            name = f"{norm}{'-targeted' if targeted else ''}"
            found["transfer"][name] = _transfer(
                wrapped, x, rows.labels, ball, {"a copy trained on": copied}, targeted, seed
            )
    few = right_on_both(*wrapped, x, rows.labels)[: setting.hunted]
    saving = query_saving(
        *wrapped,
        x,
        rows.labels,
        ball=Ball("l2", RADII["l2"]),
        seed=seed,
        budget=setting.budget,
        rows=few,
    )
    hunted = {**saving.without, **saving.guided}
    found["queries"] = {n: h.queries_to_success.tolist() for n, h in hunted.items()}
    try:
        found["saving"] = asdict(saving.saving(level=LEVEL))
    except UndecidableError as error:
        found["saving"] = {"undecidable": str(error)}
    return found


def _transfer(
    pair: tuple[nn.Module, nn.Module],
    x: Tensor,
    labels: Tensor,
    ball: Ball,
    surrogates: dict[str, nn.Module],
    targeted: bool,
    seed: int,
) -> dict[str, Any]:
    found = transferred(
        *pair, x, labels, ball=ball, seed=seed, surrogates=surrogates, targeted=targeted
    )
    return asdict(found.rate(level=LEVEL)) | {
        "worst": found.worst,
        "rates": {n: float(f.double().mean()) for n, f in found.fooled.items()},
        "white_box": found.white_box,
        "white_box_full": found.white_box_full,
        "masked": found.masked,
        "rows": len(found.rows),
    }


def floor_of(full: nn.Module, stranger: nn.Module, setting: Setting, *, seed: int) -> Any:
    """Return the transfer from an independently trained net, per norm."""
    rows = setting.judging.take(torch.arange(setting.judged))
    x = setting.span.units(_tensor(rows))
    pair = InUnits(full, setting.span), InUnits(stranger, setting.span)
    return {
        norm: _transfer(pair, x, rows.labels, Ball(norm, RADII[norm]), {}, False, seed)
        for norm in NORMS
    }


def run_cell(architecture: str, mechanism: str, seed: int, setting: Setting) -> dict[str, Any]:
    """Make a sibling, attack with it, unpair it, attack again."""
    full = setting.trained(architecture, seed=seed)
    stranger = setting.trained(architecture, seed=1000 + seed)
    small = MECHANISMS[mechanism](full, architecture, setting, seed)
    apart = unpaired(
        small,
        full,
        setting.splits.members,
        choosing=setting.choosing,
        train=setting.train(1 / 3),
        seed=seed,
        tolerance=LOST_AT_MOST,
        topology=existing(small),
    )
    said = predict(full, setting.judging).correct
    return {
        "architecture": architecture,
        "mechanism": mechanism,
        "seed": seed,
        "members": setting.members,
        "epochs": setting.epochs,
        "width": setting.width,
        "accuracy_full": float(said.double().mean()),
        "attackers": sorted(adaptive_attackers(_tensor(setting.judging)[:1])),
        "floor": floor_of(full, stranger, setting, seed=seed),
        "before": attacked(full, small, setting, seed=seed),
        "after": attacked(full, apart.module, setting, seed=seed),
        "weight": apart.weight,
    }


def show(folder: Path) -> None:
    """Print the table and the correlation of similarity with vulnerability."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    points = []
    for cell in found:
        before, after = (cell[when]["transfer"]["l2"] for when in ("before", "after"))
        lost = cell["before"]["accuracy"]["value"] - cell["after"]["accuracy"]["value"]
        reduced = 1 - after["value"] / max(before["value"], 1e-9)
        floor = cell["floor"]["l2"]
        met = (reduced >= REDUCED_BY or after["value"] <= floor["high"]) and lost <= LOST_AT_MOST
        mark = " masked gradients" if after["masked"] else ""
        print(
            f"{cell['architecture']:9} {cell['mechanism']:16} {cell['seed']} "
            f"transfer {before['value']:.3f} -> {after['value']:.3f} (floor {floor['value']:.3f}), "
            f"accuracy lost {lost:+.3f}, λ {cell['weight']:g}, "
            f"{'met' if met and not mark else 'not met'}{mark}"
        )
        for when in ("before", "after"):
            cosine = cell[when]["similarity"]["gradients"]["value"]
            points.append((cosine, cell[when]["transfer"]["l2"]["value"]))
    if len(points) < 4:
        return
    rho = bootstrap_interval(_spearman, np.array(points), level=LEVEL, seed=0, edges=(-1, 1))
    print(f"Spearman of cosine and transfer: {rho.value:.2f} [{rho.low:.2f}, {rho.high:.2f}]")


def _spearman(samples: Any) -> Any:
    ranks = rankdata(samples, axis=1)
    centred = ranks - ranks.mean(axis=1, keepdims=True)
    product = centred.prod(axis=2).sum(axis=1)
    sizes = np.sqrt((centred**2).sum(axis=1).prod(axis=1))
    return product / np.where(sizes > 0, sizes, 1)


def _tensor(rows: Rows) -> Tensor:
    if not isinstance(rows.inputs, Tensor):
        raise SystemExit("expected images")
    return rows.inputs


def main() -> None:
    """Run the cells that have no file, or show those that have."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("act", choices=["run", "show"])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--work", type=Path, default=Path("work-transfer"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", help="cells as ARCHITECTURE/MECHANISM")
    parser.add_argument("--members", type=int, default=10_000)
    parser.add_argument("--epochs", type=float, default=24)
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--judged", type=int, default=500)
    parser.add_argument("--hunted", type=int, default=100)
    parser.add_argument("--budget", type=int, default=10_000)
    given = parser.parse_args()
    if given.act == "show":
        show(given.results)
        return
    setting = Setting(
        data=Path(os.environ["SAFECOMPRESS_DATA"]),
        work=given.work,
        members=given.members,
        epochs=given.epochs,
        width=given.width,
        judged=given.judged,
        hunted=given.hunted,
        budget=given.budget,
    )
    given.results.mkdir(parents=True, exist_ok=True)
    for architecture, mechanism, seed in cells(given.seeds):
        file = given.results / f"{architecture}-{mechanism}-{seed}.json"
        wanted = not given.only or f"{architecture}/{mechanism}" in given.only
        if file.exists() or not wanted:
            continue
        write_json(file, run_cell(architecture, mechanism, seed, setting))
        print(file, flush=True)


if __name__ == "__main__":
    main()
