"""`TargetRotation`: each model of a cohort once as the target, the others as its shadow models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.checks import Subject
from safecompress.cohorts.cohort import Cohort
from safecompress.cohorts.matching import matched
from safecompress.cohorts.outside import outside_judges
from safecompress.data import Ledger
from safecompress.errors import UndecidableError
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References, Rows
from safecompress.randomness import derive
from safecompress.registry.identity import require_distinct_names
from safecompress.run.folder import DENSE as DENSE_FILE
from safecompress.run.folder import MODEL
from safecompress.run.load import load_stored
from safecompress.run.model_file import read_model
from safecompress.stats import auc, balanced_accuracy, realized_tpr_at_fpr
from safecompress.stats.roc import require_false_positives
from safecompress.train.internals import internals
from safecompress.verdict_names import COMPRESSED, DENSE

FPRS = (0.001, 0.01)
_FILES = {DENSE: DENSE_FILE, COMPRESSED: MODEL}
FILES_KEPT = frozenset({"internals", "target"})
"""Evidence that is read off the models themselves, so that their files must be kept."""
HELD = FILES_KEPT | {"references", "judges", "rows", "parent"}
"""Names of the fields of `Evidence` that a cohort holds about its targets, besides outputs."""


@dataclass(frozen=True)
class TargetRotation:
    """The first models of a cohort, attacked one after the other.

    Args:
        cohort: the cohort; its first `count` models must be trained.
        count: number of models.
        kind: which model of each training is attacked: `compressed`, or `dense`.
    """

    cohort: Cohort
    count: int
    kind: str = COMPRESSED

    @cached_property
    def logits(self) -> Tensor:
        """Logits of every model on every row, float32 (count, n, classes)."""
        return torch.stack([self.cohort.logits(k, self.kind) for k in range(self.count)])

    @cached_property
    def everyone(self) -> References:
        """What every model says of every row, and whether it trained on the row."""
        rows = self.cohort.plan.rows
        return References.of(self.logits, rows.labels, self.cohort.plan.seen(self.count))

    def module(self, target: int) -> nn.Module:
        """Return one model as a module in evaluation mode.

        Args:
            target: the model, from 0.

        Raises:
            DataError: when its file is missing, as without `CohortPlan.keep_models`, or damaged.
        """
        folder = self.cohort.folder / f"{target:04d}"
        stored = read_model(folder / _FILES[self.kind])
        return load_stored(stored, self.cohort.plan.config, where=folder)

    def others(self, target: int) -> References:
        """Return what all models but the target say, less one for each row (`matched`).

        Args:
            target: the model that is attacked, from 0.
        """
        others = self.everyone.of_models(
            torch.tensor([k for k in range(self.count) if k != target], dtype=torch.int64)
        )
        seed = derive(self.cohort.plan.config.seed, "matched", target)
        return matched(others, self.everyone.seen[target], seed=seed)

    def sealed(self, target: int) -> Pool[Rows]:
        """Return members and non-members of a target that had no part in steering its search.

        Args:
            target: the model that is attacked, from 0.
        """
        splits = self.cohort.plan.splits(target)
        return splits.open_sealed(Ledger(None), model_digest="cohort")[0]

    def evidence(self, target: int, *, needs: frozenset[str] = frozenset()) -> Pool[Evidence]:
        """Return what an attacker knows about a target's sealed rows.

        Args:
            target: the model that is attacked, from 0.
            needs: names of the fields of `Evidence` that are there besides outputs and references,
                of `HELD`. For `internals` and `target` the models' files must have been kept; for
                `parent` the recipe must have a dense stage.

        Raises:
            DataError: when the target's file is missing or damaged.
            RunFolderError: when there are no outputs of a dense model.
            UndecidableError: for `judges`, when every other model saw some row.
        """
        others = self.others(target)
        judges = None
        if "judges" in needs:
            seed = derive(self.cohort.plan.config.seed, "judges", target)
            judges = outside_judges(others, self.cohort.plan.rows.labels, seed=seed)
        dense = self.cohort.logits(target, DENSE) if "parent" in needs else None
        module = self.module(target) if needs & FILES_KEPT else None
        inside = "internals" in needs

        def of(rows: Rows) -> Evidence:
            place = self.cohort.places(rows.ids)

            def said(logits: Tensor) -> Outputs:
                return Outputs(logits[place], rows.labels, rows.ids)

            return Evidence(
                said(self.logits[target]),
                parent=None if dense is None else said(dense),
                rows=rows if "rows" in needs else None,
                references=others.take(place),
                internals=None if module is None or not inside else internals(module, rows),
                target=module if "target" in needs else None,
                judges=None if judges is None else judges.take(place),
            )

        return self.sealed(target).map(of)

    def attacked(self, target: int, attacks: Sequence[Attack]) -> dict[str, Any]:
        """Attack one model on its sealed rows.

        Args:
            target: the model, from 0.
            attacks: the attacks; each runs once.

        Returns:
            JSON: `target`, `lineage`, `accuracy` on the non-members in [0, 1], and by attack `auc`,
            `balanced-accuracy`, `tpr@0.001` and `tpr@0.01` (None if there are too few non-members
            to measure the rate) and `seconds`.

        Raises:
            ConfigError: when two different attacks share a name.
        """
        require_distinct_names(attacks, where="cohort", kind="attacks")
        needs = frozenset().union(*(attack.requires for attack in attacks))
        seed = derive(self.cohort.plan.config.seed, "attacked", target)
        subject = Subject.of(
            self.evidence(target, needs=needs), name=self.kind, density=None, seed=seed
        )
        figures: dict[str, Any] = {}
        for attack in attacks:
            result = subject.attacked_by(attack)
            members, others = result.scores.members, result.scores.nonmembers
            guesses = result.guesses
            figures[attack.name] = {
                "auc": auc(members, others),
                "balanced-accuracy": balanced_accuracy(guesses.members, guesses.nonmembers),
                **{f"tpr@{fpr:g}": carried_rate(members, others, fpr) for fpr in FPRS},
                "seconds": result.seconds,
            }
        return {
            "target": target,
            "lineage": list(self.cohort.lineage(target)),
            "accuracy": subject.accuracy,
            "attacks": figures,
        }


def carried_rate(members: Tensor, nonmembers: Tensor, fpr: float) -> float | None:
    """Return the true-positive rate at a false-positive rate; None with too few non-members.

    Args:
        members: scores of members, higher = more likely a member.
        nonmembers: scores of non-members.
        fpr: the false-positive rate, in (0, 1).
    """
    try:
        require_false_positives(len(nonmembers), fpr=fpr, where="carried_rate")
    except UndecidableError:
        return None
    return realized_tpr_at_fpr(members, nonmembers, fpr=fpr)
