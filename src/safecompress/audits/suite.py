"""`Limits`, `Tier`, `TIERS` and `audit_suite`: bounds and attacks of audits, and their checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from safecompress.attacks import ATTACKS
from safecompress.attacks.stand_ins import FEWEST, can_stand_in
from safecompress.audits.numbers import number
from safecompress.checks import (
    Accuracy,
    AttackMeasure,
    Check,
    Suite,
    at_least_dense,
    at_most,
    auc_checks,
    dense_checks,
    low_fpr_checks,
    metric_named,
    named_check,
    shadow_attacks,
)
from safecompress.checks.by_class import group_checks, worth_checks
from safecompress.checks.group_leak import CLASS
from safecompress.checks.leak_checks import ALL_FORMS
from safecompress.config import Request
from safecompress.config.judging import MARGIN
from safecompress.config.standards import STANDARDS, StandardName
from safecompress.data import RecordedOutputs
from safecompress.errors import ConfigError, did_you_mean
from safecompress.protocols import Attack, Evidence, Pool
from safecompress.registry.identity import Identity, identity

_ACCURACY_LOSS = 0.05
_SHOWN_FPR = 0.01
_BY_CLASS = "modified-entropy"


@dataclass(frozen=True)
class Limits:
    """Bounds that an audited model must keep.

    Args:
        max_auc: upper bound on the AUC of every attack, in [0.5, 1].
        max_advantage: upper bound on the membership advantage (TPR - FPR) of every attack, in
            [0, 1]; None sets no bound.
        max_tpr: pairs (TPR, FPR), both in (0, 1): upper bounds on the true-positive rate of every
            attack at that false-positive rate.
        max_transfer: for a pair, upper bound on the share of rows on which points crafted on the
            small model fool the full one, in [0, 1].
        max_saving: for a pair, upper bound on the factor by which the small model reduces the
            queries that fool the full one, at least 1; a failure is a warning.
        max_group_auc: upper bound on the two-sided AUC of every attack within each class and each
            group, in [0.5, 1]; where the rows of a group cannot settle it, the verdict is not
            decided. None takes `max_auc`, and then such a group is a warning.
        margin: with a baseline, AUC that any attack may gain on it, in [0, 0.5].
        standard: name of a published standard in `STANDARDS`, whose limits count beside these, the
            stricter first; None for none.
        max_transfer_gain: for a pair, upper bound on what holding the small model adds to the
            transfer rate of the same attacker without it, in [0, 1]; a failure is a warning.

    Raises:
        ConfigError: when a bound is outside its range.
    """

    max_auc: float = 0.60
    max_advantage: float | None = None
    max_tpr: tuple[tuple[float, float], ...] = ()
    max_transfer: float = 0.2
    max_saving: float = 2.0
    max_group_auc: float | None = None
    margin: float = MARGIN
    max_transfer_gain: float = 0.1
    standard: StandardName | None = None

    def __post_init__(self) -> None:
        _as_python_numbers(self)
        if not 0 <= self.max_transfer <= 1:
            raise ConfigError(
                f"max_transfer is {self.max_transfer:g}; expected a number in [0, 1]."
            )
        if not 0 <= self.max_transfer_gain <= 1:
            raise ConfigError(
                f"max_transfer_gain is {self.max_transfer_gain:g}; expected a number in [0, 1]."
            )
        if not 1 <= self.max_saving < float("inf"):
            raise ConfigError(f"max_saving is {self.max_saving:g}; expected at least 1.")
        if not 0 <= self.margin <= 0.5:
            raise ConfigError(f"margin is {self.margin:g}; expected a number in [0, 0.5].")
        if not 0.5 <= self.max_auc <= 1:
            raise ConfigError(f"max_auc is {self.max_auc:g}; expected a number in [0.5, 1].")
        if self.max_group_auc is not None and not 0.5 <= self.max_group_auc <= 1:
            raise ConfigError(
                f"max_group_auc is {self.max_group_auc:g}; expected a number in [0.5, 1]."
            )
        if self.max_advantage is not None and not 0 <= self.max_advantage <= 1:
            raise ConfigError(
                f"max_advantage is {self.max_advantage:g}; expected a number in [0, 1]."
            )
        for tpr, fpr in self.max_tpr:
            if not 0 < tpr < 1 or not 0 < fpr < 1:
                raise ConfigError(
                    f"max_tpr is {tpr:g}@{fpr:g}; expected two numbers in (0, 1), for example "
                    "0.01@0.001: at most 1 % of the members found where 0.1 % of the non-members "
                    "are taken for members."
                )

        if self.standard is not None:
            _tighten(self, self.standard)


def _tighten(limits: Limits, name: str) -> None:
    """Make limits at least as strict as those of a standard."""
    asked = next((standard for known, standard in STANDARDS.items() if known == name), None)
    if asked is None:
        near = did_you_mean(name, STANDARDS)
        raise ConfigError(f"standard: no standard is called '{name}'{near}")
    by_class = limits.max_auc if limits.max_group_auc is None else limits.max_group_auc
    rates: dict[float, float] = {}
    for tpr, fpr in (*limits.max_tpr, *asked.max_tpr):
        rates[fpr] = min(tpr, rates.get(fpr, 1.0))
    object.__setattr__(limits, "max_auc", min(limits.max_auc, asked.max_auc))
    object.__setattr__(limits, "max_group_auc", min(by_class, asked.max_auc))
    object.__setattr__(limits, "max_tpr", tuple((tpr, fpr) for fpr, tpr in rates.items()))


def _as_python_numbers(limits: Limits) -> None:
    """Turn numbers of NumPy into Python's own, which JSON can hold; refuse anything else."""
    for name in ("max_auc", "max_advantage", "max_transfer", "max_transfer_gain", "max_saving"):
        if (value := getattr(limits, name)) is not None or name != "max_advantage":
            object.__setattr__(limits, name, number(value, name))
    try:
        pairs = tuple(
            (number(tpr, "max_tpr"), number(fpr, "max_tpr")) for tpr, fpr in limits.max_tpr
        )
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"max_tpr: got {limits.max_tpr!r:.80}; expected pairs of a true-positive and a "
            "false-positive rate, for example ((0.01, 0.001),)."
        ) from error
    object.__setattr__(limits, "max_tpr", pairs)


@dataclass(frozen=True)
class Tier:
    """Attacks that join an audit together.

    Args:
        name: the tier's name in the scope of a verdict.
        attacks: names in the registry, or one name with its options; attacks whose evidence an
            audit lacks are left out.
        seconds: time of one attack that does not depend on the rows, measured on one core.
        per_row: additional seconds for each row, at ten classes, measured on one core.
        queries: most queries to the model for each row, besides the prediction of the row itself.
        dear: whether the tier needs a time budget that it fits into; its attacks also run where
            they are named.
    """

    name: str
    attacks: tuple[Request, ...]
    seconds: float
    per_row: float
    queries: int = 0
    dear: bool = False


TIERS = (
    Tier("metric attacks", ("loss", "confidence", "modified-entropy"), 0.01, 3e-6),
    Tier("the label-only gap", ("gap",), 0.01, 3e-6),
    Tier("a neural attack", ("neural",), 0.05, 1.5e-5),
    Tier("a white-box attack", ("white-box",), 0.1, 3e-5),
    Tier("an attack that holds the dense model as well", ("pair",), 0.05, 3e-5),
    Tier("reference attacks", shadow_attacks(ALL_FORMS)[:-1], 0.05, 1e-5),
    Tier("an attack learnt on references", ("learnt-references", "learnt-known-rows"), 0.3, 5e-5),
    Tier("a quantile regression", ("quantile",), 0.1, 2.5e-4, dear=True),
    Tier("label-only changed copies", ("augmentation",), 0.1, 3e-6, queries=72, dear=True),
    Tier("label-only distances", ("boundary",), 0.1, 3e-6, queries=533, dear=True),
)
"""Cheapest first: with little time the first ones run. A new attack joins by its name."""


def attacks_for(tier: Tier, evidence: Pool[Evidence]) -> list[Attack]:
    """Return the attacks of a tier that can run on the evidence, built with their defaults.

    Args:
        tier: the tier.
        evidence: the evidence on the audited model.
    """
    built = [ATTACKS.build(request, where="audit") for request in tier.attacks]
    unfit = _too_few_references(evidence)
    return [a for a in built if _able(a, evidence) and identity(a) not in unfit]


def _able(attack: Attack, evidence: Pool[Evidence]) -> bool:
    """Return whether the evidence has all that an attack requires."""
    return all(
        getattr(e, field, None) is not None
        for field in attack.requires
        for e in (evidence.members, evidence.nonmembers)
    )


def _is_built_in(attack: Attack, *names: str) -> bool:
    """Return whether an attack is one of these built-in ones, and not another of the same name."""
    return identity(attack) in {identity(ATTACKS.build(n, where="audit")) for n in names}


def _too_few_references(evidence: Pool[Evidence]) -> set[Identity]:
    """Return the forms of the reference attacks for which a row has too few references."""
    members, nonmembers = evidence.members.references, evidence.nonmembers.references
    if members is None or nonmembers is None:
        return set()
    seen = torch.cat([members.seen, nonmembers.seen], dim=1)
    fewest = int(torch.minimum(seen.sum(dim=0), (~seen).sum(dim=0)).min())
    learnable = can_stand_in(seen)
    requests = shadow_attacks(fewest, learnable=learnable)
    if not learnable and min(members.seen.shape[1], nonmembers.seen.shape[1]) < 2 * FEWEST:
        requests = requests[:-1]
    carried = {identity(ATTACKS.build(request, where="audit")) for request in requests}
    every = (r for kind in (True, False) for r in shadow_attacks(ALL_FORMS, learnable=kind))
    return {identity(ATTACKS.build(request, where="audit")) for request in every} - carried


def audit_suite(
    limits: Limits,
    *,
    attacks: Sequence[Attack],
    named: Sequence[Attack] = (),
    baseline: RecordedOutputs | None = None,
    group_by: Sequence[str] = (),
) -> Suite:
    """Return the checks of an audit.

    Args:
        limits: the bounds.
        attacks: the attacks, `modified-entropy` among them.
        named: those of them that the user named. Checks of an attack that needs the dense model
            are critical only if it was named: while the dense model is unpublished, no attacker
            has it.
        baseline: outputs of the dense model to compare with, by the attacks for which its evidence
            suffices; None without one.
        group_by: names of the columns whose groups are judged beside the classes.
    """
    informing = [a for a in attacks if "parent" in a.requires and a not in named]
    judging = [a for a in attacks if a not in informing]
    checks = limit_checks(limits, judging)
    by_class = next(attack for attack in attacks if _is_built_in(attack, _BY_CLASS))
    measure = AttackMeasure(by_class, metric_named("class-balanced-accuracy"))
    checks.append(named_check(measure, at_most(limits.max_auc)))
    checks += group_limit_checks(limits, judging, by=(CLASS, *group_by))
    checks += worth_checks(relative=baseline is not None)
    if baseline is not None:
        checks.append(named_check(Accuracy(), at_least_dense(-_ACCURACY_LOSS)))
        comparable = [attack for attack in judging if _able(attack, baseline.evidence)]
        checks += dense_checks(comparable, limits.margin)
    checks += [replace(check, critical=False) for check in auc_checks(informing, limits.max_auc)]
    return Suite(tuple(checks))


def group_limit_checks(
    limits: Limits, attacks: Sequence[Attack], *, by: Sequence[str]
) -> list[Check]:
    """Return the checks that attacks keep the bounds within each group of some attributes.

    Args:
        limits: the bounds.
        attacks: the attacks, at least one.
        by: names of the attributes.
    """
    asked = limits.max_group_auc
    bound = limits.max_auc if asked is None else asked
    return group_checks(attacks, bound=bound, by=by, decisive=asked is not None)


def limit_checks(limits: Limits, attacks: Sequence[Attack]) -> list[Check]:
    """Return the checks that attacks keep the bounds over all rows.

    Args:
        limits: the bounds.
        attacks: the attacks.
    """
    bounds = [(metric_named("auc"), limits.max_auc)]
    if limits.max_advantage is not None:
        bounds.append((metric_named("advantage"), limits.max_advantage))
    bounds += [(metric_named(f"tpr@{fpr:g}"), tpr) for tpr, fpr in limits.max_tpr]
    checks = [
        named_check(AttackMeasure(attack, metric), at_most(bound))
        for metric, bound in bounds
        for attack in attacks
    ]
    return checks + low_fpr_checks(attacks, besides=[fpr for _, fpr in limits.max_tpr])


def shown_of_all(attacks: Sequence[Attack]) -> list[AttackMeasure]:
    """Return the measures shown of every model: all AUCs, and TPR at low FPR of some attacks.

    The rate is shown of one metric attack and of all reference attacks, because its paired interval
    is a bootstrap; the checks of the audited model have it of every attack.

    Args:
        attacks: the attacks of the suite.
    """
    low = [a for a in attacks if _is_built_in(a, _BY_CLASS) or "references" in a.requires]
    return [AttackMeasure(attack) for attack in attacks] + [
        AttackMeasure(a, metric_named(f"tpr@{_SHOWN_FPR:g}")) for a in low
    ]
