"""Every attack on the same dense and compressed targets, means over a cohort.

A cohort is many models of one recipe on recorded draws of the same rows: each is the target once,
and the others are its shadow models. A cell is one target; a finished one is skipped (`cells.py`).
The cohort's models and the attacks' scores are kept in `--work`; scores of all targets are pooled
for the rates at few false positives, which one target's rows do not carry.

    SAFECOMPRESS_DATA=/path/to/data python -m benchmarks.attacks location30 --work /path/to/models

The compressed targets replay the path that the search chose most often in the confirmation of
`benchmarks/selection.py`, trained with the same settings. Attacks that cost seconds a thousand rows
are run on the first four targets and on some of their rows. `family` is not here: it takes several
compressed versions of one model.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.cells import Cell, Cells, add_out
from benchmarks.selection_methods import MOVES
from benchmarks.sets import FP32, RECIPES, SETTINGS
from safecompress import load_config
from safecompress.attacks import ATTACKS
from safecompress.checks import Subject
from safecompress.cohorts.cohort import COMPRESSED, DENSE, Cohort
from safecompress.cohorts.matching import matched
from safecompress.cohorts.plan import CohortPlan, every_row
from safecompress.cohorts.processes import train_cohort
from safecompress.cohorts.rotation import FPRS, TargetRotation, carried_rate
from safecompress.config import Request, ShadowsConfig
from safecompress.data import load_splits
from safecompress.events import Event
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References
from safecompress.randomness import derive, generator, permutation
from safecompress.stats import auc
from safecompress.train.internals import internals

KINDS = (DENSE, COMPRESSED)


@dataclass(frozen=True)
class Set:
    """A data set's cohort.

    Args:
        count: number of models.
        replay: the path of proposals, the same in every round.
        asked: number of rows of each group that costly attacks are run on.
    """

    count: int
    replay: str
    asked: int = 500


SETS = {
    "location30": Set(64, "rigl soft=1 T=2"),
    "banking77": Set(32, "rigl soft=0.3"),
    "cifar100-alexnet": Set(16, "rigl soft=0.6", asked=200),
}


@dataclass(frozen=True)
class Row:
    """One attack of the benchmark and the shadow models that it may use.

    Args:
        attack: the attack, as a configuration names it.
        shadows: which of the other models are its shadow models: `none`, `all`, or a number such as
            `15` for the models drawn after the target, which saw every row about equally often.
        outside: number of shadow models for each row, drawn from those that did not see the row;
            None uses all.
        costly: whether it is run on the first `FEW` targets alone, and on some of their rows.
    """

    attack: Request
    shadows: str = "none"
    outside: int | None = None
    costly: bool = False


FEW = 4
ROWS: dict[str, Row] = {
    "loss": Row("loss"),
    "confidence": Row("confidence"),
    "entropy": Row("entropy"),
    "modified entropy": Row("modified-entropy"),
    "gap (label only)": Row("gap"),
    "neural": Row("neural"),
    "neural, as published": Row("neural-published", costly=True),
    "white box": Row("white-box"),
    "white box, as published": Row("white-box-published", costly=True),
    "quantile regression": Row("quantile", costly=True),
    "changed copies (label only)": Row("augmentation", costly=True),
    "distance to the boundary (label only)": Row("boundary", costly=True),
    "pair: the dense model, too": Row("pair"),
    "LiRA online, fixed variance": Row("lira-online", "all"),
    "LiRA online, own variance": Row({"lira-online": {"variance": "per-example"}}, "all"),
    "LiRA online, fixed variance, 15 shadows": Row("lira-online", "15"),
    "LiRA offline, fixed variance": Row("lira-offline", "all"),
    "LiRA offline, own variance": Row({"lira-offline": {"variance": "per-example"}}, "all"),
    "LiRA offline, fixed variance, 4 for each row": Row("lira-offline", "all", outside=4),
    "RMIA online": Row("rmia", "all"),
    "RMIA offline": Row({"rmia": {"online": False}}, "all"),
    "RMIA offline, 4 for each row": Row("rmia", "all", outside=4),
    "RMIA offline, 2 for each row": Row("rmia", "all", outside=2),
    "RMIA offline, 1 for each row": Row("rmia", "all", outside=1),
}


def main() -> None:
    """Run the cells that have no result yet and print the tables of all that have one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", choices=[*SETS, []], help="which sets; none only prints")
    parser.add_argument("--models", type=int, help="fewer models than the cohort's")
    parser.add_argument("--workers", type=int, help="models trained at once")
    add_out(parser, "attacks")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "cohorts")
    options = parser.parse_args()
    cells = Cells(options.out)
    for name in options.data:
        cohort = begin(name, options.work)
        count = options.models or SETS[name].count
        shadows = ShadowsConfig(count=count, workers=options.workers)
        train_cohort(cohort, count, shadows, listen=say)
        attack_all(name, cohort, count, cells)
    for document in cells.finished("*-pooled").values():
        print_table(document, cells)


def say(event: Event) -> None:
    """Print how far the training is."""
    if event.data.get("stage") == "shadows":
        print(event.text, f"(left: {event.data['eta'] / 60:.0f} min)", flush=True)


def begin(name: str, work: Path) -> Cohort:
    """Begin a data set's cohort, or go on with it."""
    chosen = SETS[name]
    recipe = RECIPES / f"{name}.yaml"
    moves = f"steer.proposals={MOVES}"
    assignments = ["seed=300", "baselines=[]", *SETTINGS[name], moves, *FP32]
    config = load_config(recipe, assignments=assignments)
    if config.data is None:
        raise TypeError(f"{recipe}: no data section")
    splits = load_splits(config.data, seed=config.seed, weights_given=False)
    replay = {"replay": (chosen.replay,) * config.sparse.rounds, "attacks": ("loss",)}
    config = config.model_copy(
        update={"data": None, "steer": config.steer.model_copy(update=replay | {"population": 1})}
    )
    plan = CohortPlan(
        config,
        every_row(splits),
        splits.class_names,
        members=len(splits.members),
        keep_models=True,
    )
    return Cohort.begin(work / name, plan)


def attack_all(name: str, cohort: Cohort, count: int, cells: Cells) -> None:
    """Attack every model of a cohort, and pool the scores over its models."""
    siblings = {kind: TargetRotation(cohort, count, kind) for kind in KINDS}
    for target in range(count):
        key = f"{name}-target{target:02d}"
        scores = cohort.folder / f"scores-{target:02d}.npz"
        if not (key in cells and scores.exists()):
            cell, said = run_cell(name, siblings, target)
            np.savez(scores, **said)
            cells.write(key, cell)
            print(f"{key}: {cell['seconds']:.0f} s", flush=True)
    cells.write(f"{name}-pooled", pooled(name, cohort, count))


def run_cell(
    name: str, siblings: Mapping[str, TargetRotation], target: int
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Attack one model; return what its cell holds, and every score."""
    started = time.perf_counter()
    cohort, count = siblings[DENSE].cohort, siblings[DENSE].count
    seed = derive(cohort.plan.config.seed, "attacked", target)
    figures: dict[str, Any] = {}
    said: dict[str, np.ndarray] = {}
    for kind in KINDS:
        figures[kind] = {}
        held = TargetEvidence(siblings[kind], target, siblings[DENSE])
        figures[kind]["accuracy"] = float(held.outputs.nonmembers.correct.double().mean())
        for label, row in ROWS.items():
            attack = ATTACKS.build(row.attack, where=label)
            if (row.costly and target >= FEW) or ("parent" in attack.requires and kind == DENSE):
                continue
            references = shown_to(row, target, siblings[kind].everyone, seed=seed)
            evidence = held.evidence(
                attack, references, most=SETS[name].asked if row.costly else None
            )
            subject = Subject.of(evidence, name=kind, density=None, seed=seed)
            result = subject.attacked_by(attack)
            members, nonmembers = result.scores.members, result.scores.nonmembers
            figures[kind][label] = {
                "auc": auc(members, nonmembers),
                **{f"tpr@{fpr:g}": carried_rate(members, nonmembers, fpr) for fpr in FPRS},
                "rows": [len(members), len(nonmembers)],
                "seconds": result.seconds,
            }
            said[f"{kind}|{label}|members"] = members.numpy()
            said[f"{kind}|{label}|nonmembers"] = nonmembers.numpy()
    cell = {
        "benchmark": "attacks",
        "data": name,
        "target": target,
        "shadows": count - 1,
        "members": int(cohort.plan.seen(target + 1)[target].sum()),
        "rows": len(cohort.plan.rows),
        "figures": figures,
        "seconds": time.perf_counter() - started,
    }
    return cell, said


class TargetEvidence:
    """The evidence that attackers may have about one target.

    Args:
        siblings: the cohort's models of the target's kind, dense or compressed.
        target: number of the target in the cohort.
        dense: the dense models of the cohort.
    """

    def __init__(self, siblings: TargetRotation, target: int, dense: TargetRotation) -> None:
        self._siblings, self._target, self._dense = siblings, target, dense
        plan = siblings.cohort.plan
        self._rows, seen = plan.rows, plan.seen(target + 1)[target]
        self._places = Pool(seen.nonzero().squeeze(1), (~seen).nonzero().squeeze(1))

    @property
    def outputs(self) -> Pool[Outputs]:
        """The target's outputs on its members and on all other rows."""
        return self._places.map(lambda place: self._said(self._siblings, place))

    def _said(self, siblings: TargetRotation, place: torch.Tensor) -> Outputs:
        logits = siblings.logits[self._target][place]
        return Outputs(logits, self._rows.labels[place], self._rows.ids[place])

    @cached_property
    def module(self) -> nn.Module:
        """The target itself."""
        return self._siblings.module(self._target)

    def evidence(
        self, attack: Attack, references: References | None, *, most: int | None
    ) -> Pool[Evidence]:
        """Return the evidence that an attack needs, for at most `most` rows of each group."""

        def held(place: torch.Tensor) -> Evidence:
            if most is not None:
                place = place[permutation(len(place), self._target, "asked")[:most]]
            rows = self._rows.take(place)
            inside = "internals" in attack.requires
            return Evidence(
                self._said(self._siblings, place),
                parent=self._said(self._dense, place) if "parent" in attack.requires else None,
                rows=rows,
                references=None if references is None else references.take(place),
                internals=internals(self.module, rows) if inside else None,
                target=self.module if "target" in attack.requires else None,
            )

        return self._places.map(held)


def shown_to(row: Row, target: int, everyone: References, *, seed: int) -> References | None:
    """Return the outputs of an attack's shadow models on every row; None where it has none."""
    if row.shadows == "none":
        return None
    count = len(everyone.seen)
    others = torch.tensor([(target + k) % count for k in range(1, count)])
    if row.shadows != "all":
        others = others[: int(row.shadows) + 1]
    shadows = everyone.of_models(others)
    shadows = matched(shadows, everyone.seen[target], seed=seed)
    if row.outside is None:
        return shadows
    # A draw is below 1 exactly for models that did not see the row, so sorting puts them first.
    drawn = torch.rand(shadows.seen.shape, generator=generator(seed, "outside")) + shadows.seen
    chosen = drawn.argsort(dim=0)[: row.outside]
    return shadows.of_models(chosen)


def pooled(name: str, cohort: Cohort, count: int) -> dict[str, Any]:
    """Return figures of all targets' scores together."""
    files = [np.load(cohort.folder / f"scores-{k:02d}.npz") for k in range(count)]
    figures: dict[str, Any] = {}
    for kind in KINDS:
        figures[kind] = {}
        for label in ROWS:
            asked = [f for f in files if f"{kind}|{label}|members" in f]
            if not asked:
                continue
            members, nonmembers = (
                torch.from_numpy(np.concatenate([f[f"{kind}|{label}|{group}"] for f in asked]))
                for group in ("members", "nonmembers")
            )
            figures[kind][label] = {
                "auc": auc(members, nonmembers),
                **{f"tpr@{fpr:g}": carried_rate(members, nonmembers, fpr) for fpr in FPRS},
            }
    return {"benchmark": "attacks", "data": name, "targets": count, "pooled": figures}


def print_table(document: Cell, finished: Cells) -> None:
    """Print a data set's table, in Markdown."""
    name, count = document["data"], document["targets"]
    cells = list(finished.finished(f"{name}-target*").values())[:count]
    print(f"\n{name}, {count} targets. AUC: mean ± deviation between targets. TPR: pooled.")
    for kind in KINDS:
        accuracy = np.mean([c["figures"][kind]["accuracy"] for c in cells])
        print(f"\n{kind}, accuracy {accuracy:.3f}\n")
        print("| attack | AUC | TPR@0.1 % | TPR@1 % | seconds |\n|---|---|---|---|---|")
        for label in [label for label in ROWS if label in document["pooled"][kind]]:
            each = [c["figures"][kind][label] for c in cells if label in c["figures"][kind]]
            aucs = [e["auc"] for e in each]
            rates = [document["pooled"][kind][label][f"tpr@{fpr:g}"] for fpr in FPRS]
            shown = ["n/a" if r is None else f"{100 * r:.2f} %" for r in rates]
            spread = np.std(aucs, ddof=1) if len(aucs) > 1 else 0.0
            seconds = np.mean([e["seconds"] for e in each])
            print(
                f"| {label} | {np.mean(aucs):.3f} ± {spread:.3f} | {' | '.join(shown)} "
                f"| {seconds:.2f} |"
            )


if __name__ == "__main__":
    main()
