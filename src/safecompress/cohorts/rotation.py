"""Each model of a cohort as a target, and the others as its shadow models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from safecompress.checks import Subject
from safecompress.cohorts.cohort import Cohort
from safecompress.data import Ledger
from safecompress.errors import UndecidableError
from safecompress.protocols import Attack, Evidence, Outputs, Pool, References, Rows
from safecompress.randomness import derive, generator
from safecompress.registry.identity import require_distinct_names
from safecompress.run.folder import DENSE as DENSE_FILE
from safecompress.run.folder import MODEL
from safecompress.run.load import load_stored
from safecompress.run.model_file import read_model
from safecompress.stats import auc, balanced_accuracy, tpr_at_fpr
from safecompress.stats.roc import require_false_positives
from safecompress.train.internals import internals
from safecompress.verdict_names import COMPRESSED, DENSE

FPRS = (0.001, 0.01)
_FILES = {DENSE: DENSE_FILE, COMPRESSED: MODEL}


@dataclass(frozen=True)
class TargetRotation:
    """The first models of a cohort, all trained.

    Args:
        cohort: the cohort.
        count: how many of its models.
        kind: what of each is attacked: `compressed`, or `dense`.
    """

    cohort: Cohort
    count: int
    kind: str = COMPRESSED

    @cached_property
    def logits(self) -> Tensor:
        """What every model says of every row, float32 (count, n, classes)."""
        return torch.stack([self.cohort.logits(k, self.kind) for k in range(self.count)])

    @cached_property
    def everyone(self) -> References:
        """The same as log-odds of the rows' labels, with who was trained on what."""
        rows = self.cohort.plan.rows
        return References.of(self.logits, rows.labels, self.cohort.plan.seen(self.count))

    def module(self, target: int) -> nn.Module:
        """Return one model.

        Raises:
            RunFolderError: when its file is not there, as without `Plan.keep_models`, or damaged.
        """
        folder = self.cohort.folder / f"{target:04d}"
        stored = read_model(folder / _FILES[self.kind])
        return load_stored(stored, self.cohort.plan.config, where=folder)

    def others(self, target: int) -> References:
        """Return what all but one of them say of every row, as many of each kind for every row."""
        left = torch.arange(self.count) != target
        others = References(self.everyone.log_odds[left], self.everyone.seen[left])
        seed = derive(self.cohort.plan.config.seed, "matched", target)
        return matched(others, self.everyone.seen[target], seed=seed)

    def sealed(self, target: int) -> Pool[Rows]:
        """Return the target's own members and other rows that steered nothing of it."""
        splits = self.cohort.plan.splits(target)
        return splits.open_sealed(Ledger(None), model_digest="cohort")[0]

    def evidence(self, target: int, *, white_box: bool = False) -> Pool[Evidence]:
        """Return what an attacker holds of a target's sealed rows.

        Args:
            target: number of the model.
            white_box: whether it also computes inside the model; its file must have been kept.
        """
        others, logits = self.others(target), self.logits[target]

        def of(rows: Rows) -> Evidence:
            place = self.cohort.places(rows.ids)
            outputs = Outputs(logits[place], rows.labels, rows.ids)
            return Evidence(outputs, references=others.take(place))

        rows = self.sealed(target)
        evidence = rows.map(of)
        if not white_box:
            return evidence
        module = self.module(target)
        return evidence.zip(
            rows,
            lambda e, r: Evidence(
                e.outputs, references=e.references, internals=internals(module, r)
            ),
        )

    def attacked(self, target: int, attacks: Sequence[Attack]) -> dict[str, Any]:
        """Attack one model on its sealed rows.

        Args:
            target: its number.
            attacks: each is asked once.

        Returns:
            JSON: `lineage`, `accuracy` on the non-members, and by attack `auc`,
            `balanced-accuracy`, `tpr@0.001` and `tpr@0.01` (None where so few rows do not carry
            the rate) and `seconds`.

        Raises:
            ConfigError: when two different attacks share a name.
        """
        require_distinct_names(attacks, where="cohort", kind="attacks")
        white_box = any(attack.white_box for attack in attacks)
        seed = derive(self.cohort.plan.config.seed, "attacked", target)
        subject = Subject.of(
            self.evidence(target, white_box=white_box), name=self.kind, density=None, seed=seed
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


def matched(others: References, saw: Tensor, *, seed: int) -> References:
    """Leave out one model a row, so that the number that saw it does not tell who the target is.

    A cohort's models see every row about equally often, the target among them: of the others, one
    fewer saw a row that the target saw. A mean over fewer models is less certain, and an attack
    that compares two of them would find members by it in a target that leaks nothing, or miss them
    in one that leaks. So one that saw it is left out of a row that the target did not see, and one
    that did not of a row that it saw.

    Args:
        others: all models of a cohort, or a run of them in their order, but for the target.
        saw: bool (n,), what the target saw.
        seed: of who is left out.

    Returns:
        One model fewer, not the same for every row.

    Raises:
        UndecidableError: where there is none to leave out.
    """
    of_a_kind = others.seen != saw
    if bool((~of_a_kind.any(dim=0)).any()):
        raise UndecidableError(
            f"cohort: {int((~of_a_kind.any(dim=0)).sum())} of {len(others)} rows have no other "
            "model of either kind; train more models."
        )
    drawn = torch.rand(others.seen.shape, generator=generator(seed, "matched"))
    # The largest goes; the others keep their order.
    gone = torch.where(of_a_kind, drawn, -1.0).argmax(dim=0)
    place = torch.arange(len(others.seen) - 1).unsqueeze(1)
    left = place + (place >= gone)
    return References(others.log_odds.gather(0, left), others.seen.gather(0, left))


def carried_rate(members: Tensor, nonmembers: Tensor, fpr: float) -> float | None:
    """Return the true-positive rate, or None where so few non-members do not carry it."""
    try:
        require_false_positives(len(nonmembers), fpr=fpr, where="carried_rate")
    except UndecidableError:
        return None
    return tpr_at_fpr(members, nonmembers, fpr=fpr)
