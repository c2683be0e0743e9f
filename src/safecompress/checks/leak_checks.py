"""Checks of leaks that the default suites of runs and of audits share, each as a list of checks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from safecompress.checks.check import Check, named_check
from safecompress.checks.conditions import at_most, at_most_dense
from safecompress.checks.measures import AttackMeasure
from safecompress.checks.metrics import TprAtFpr
from safecompress.config import Request
from safecompress.config.judging import MARGIN
from safecompress.protocols import Attack

DEFAULT_MAX_AUC = 0.60
LOW_FPRS = (0.01, 0.001)
"""False-positive rates at which the default suites ask how many members are found."""
TIMES_GUESSING = 5
"""Most that the share of members found at such a rate may be, as a multiple of the rate."""

_ONLINE = 2
"""Fewest references of either kind for each row at which the online attack estimates a mean."""
_OWN_VARIANCE = 8
"""Fewest references of either kind for each row at which a row's own variance is worth a try."""
ALL_FORMS = _OWN_VARIANCE
"""References of either kind for each row that carry every form."""


def auc_checks(attacks: Sequence[Attack], max_auc: float = DEFAULT_MAX_AUC) -> list[Check]:
    """Return the limits on every attack's AUC.

    Args:
        attacks: the attacks.
        max_auc: the limit, in [0.5, 1].
    """
    return [named_check(AttackMeasure(a), at_most(max_auc)) for a in attacks]


def low_fpr_checks(attacks: Sequence[Attack], *, besides: Iterable[float] = ()) -> list[Check]:
    """Return limits on the members found at few false accusations, by every attack that can say.

    They find the few records that leak badly while the average looks fine. They fail a verdict
    where the rows decide them, and only warn where the rows are too few. An attack with one
    threshold is left out: its rates at few false positives follow from its AUC.

    Args:
        attacks: the attacks.
        besides: rates that have limits already.
    """
    limited = set(besides)
    return [
        named_check(
            AttackMeasure(attack, TprAtFpr(fpr)),
            at_most(round(TIMES_GUESSING * fpr, 12)),
            decisive=False,
        )
        for fpr in LOW_FPRS
        if fpr not in limited
        for attack in attacks
        if not attack.two_valued
    ]


def rate_checks(attacks: Sequence[Attack], max_tpr: Sequence[tuple[float, float]]) -> list[Check]:
    """Return limits on the members found at few false accusations, which the rows must settle.

    Args:
        attacks: the attacks; one with a single threshold is left out, as in `low_fpr_checks`.
        max_tpr: pairs (TPR, FPR), both in (0, 1): the limit and the rate that it is taken at.
    """
    return [
        named_check(AttackMeasure(attack, TprAtFpr(fpr)), at_most(tpr))
        for tpr, fpr in max_tpr
        for attack in attacks
        if not attack.two_valued
    ]


def dense_checks(attacks: Sequence[Attack], margin: float = MARGIN) -> list[Check]:
    """Return the checks that no attack is stronger than on the dense model by more than a margin.

    An attack that learns does so anew on each model and on half of the rows, so its scores on both
    share little noise and the interval of their difference is wide: about ±0.03 on 3,000 members
    and 3,000 non-members where nothing leaks. Such a check fails a verdict where the rows decide it
    and only warns where they are too few.

    Args:
        attacks: the attacks.
        margin: AUC that the model may leak more than the dense one, at least 0. Without a margin
            no number of rows could show of a model that it leaks as little as the dense one.
    """
    return [
        named_check(AttackMeasure(a), at_most_dense(margin), decisive=not a.learns) for a in attacks
    ]


def shadow_attacks(fewest: int, *, learnable: bool = True) -> tuple[Request, ...]:
    """Return the attacks that reference models allow.

    Which form of LiRA is the strongest depends on the model: offline on outputs that were learned
    from another model's, online on those learned from labels, and a row's own variance only with
    enough references. So every form runs that the references carry. They read the log-odds of the
    label alone, so an attack runs beside them that learns what a member's whole answer looks like.

    Args:
        fewest: the smallest number, over all rows, of references that were trained on the row or of
            references that were not, whichever is smaller.
        learnable: whether it is known of enough references which rows they saw, so that an attack
            can learn on them (`can_stand_in`); otherwise it learns on rows of known membership.
    """
    forms: list[Request] = ["lira-offline"]
    if fewest >= _ONLINE:
        forms.append("lira-online")
    if fewest >= _OWN_VARIANCE:
        forms.append({"lira-online": {"variance": "per-example"}})
    return (*forms, "rmia", "learnt-references" if learnable else "learnt-known-rows")


def fewest_shadows(count: int, *, members: int, others: int) -> int:
    """Return the smallest number of shadow models that trained on a row, or that did not.

    Args:
        count: number of shadow models; each trains on as many rows as the judged model, and every
            row is dealt to as many of them as any other, give or take one.
        members: number of rows that the judged model trains on.
        others: number of all other rows.
    """
    dealt, rest = divmod(count * members, members + others)
    return min(dealt, count - dealt - (rest > 0))
