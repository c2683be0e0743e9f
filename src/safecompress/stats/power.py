"""Which AUCs and how narrow intervals a number of rows allows, before anything is trained."""

from __future__ import annotations

import math

from scipy.special import ndtri

from safecompress.errors import UndecidableError
from safecompress.stats._inputs import require_rows, require_share
from safecompress.stats._proportions import beta_bounds, tail_of

POWER = 0.8
"""Probability with which the smallest detectable AUC is significant."""


def _auc_error(auc: float, n_members: int, n_nonmembers: int) -> float:
    """Return the standard error of an AUC.

    Reference: Hanley and McNeil, Radiology 1982, equation 1 with the exponential model.
    """
    require_share(auc, "auc")
    require_rows(n_members, n_nonmembers, "power of AUC")
    one_member_two_others = auc / (2 - auc)
    two_members_one_other = 2 * auc * auc / (1 + auc)
    variance = (
        auc * (1 - auc)
        + (n_members - 1) * (one_member_two_others - auc * auc)
        + (n_nonmembers - 1) * (two_members_one_other - auc * auc)
    ) / (n_members * n_nonmembers)
    return math.sqrt(max(variance, 0.0))


def auc_half_width(auc: float, n_members: int, n_nonmembers: int, *, level: float = 0.95) -> float:
    """Return half the expected width of the interval of an AUC.

    Args:
        auc: true AUC, in [0, 1].
        n_members: number of members.
        n_nonmembers: number of non-members.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when a side is empty.
        ConfigError: when `auc` or `level` is not a share.

    Reference: Hanley and McNeil, Radiology 1982.

    >>> round(auc_half_width(0.6, 1000, 1000), 3)
    0.025
    """
    return float(-ndtri(tail_of(level))) * _auc_error(auc, n_members, n_nonmembers)


def smallest_detectable_auc(n_members: int, n_nonmembers: int, *, level: float = 0.95) -> float:
    """Return the smallest true AUC that is significant in four of five samples.

    It is significant where the one-sided `auc_p_value` is below 1 - level.

    Args:
        n_members: number of members.
        n_nonmembers: number of non-members.
        level: 1 minus the rate of false positives, in (0, 1).

    Returns:
        AUC in (0.5, 1).

    Raises:
        UndecidableError: when so few rows cannot tell any AUC from chance.

    >>> round(smallest_detectable_auc(1000, 1000), 3)
    0.532
    """
    require_share(level, "level", open_ended=True)
    at_chance = float(ndtri(level)) * _auc_error(0.5, n_members, n_nonmembers)

    def detectable(auc: float) -> bool:
        return auc - 0.5 >= at_chance + float(ndtri(POWER)) * _auc_error(
            auc, n_members, n_nonmembers
        )

    low, high = 0.5, 1.0
    # With few rows the rule of three widens even the interval of separated groups down to 0.5.
    unseen = math.hypot(*(1 - (1 - level) ** (1 / n) for n in (n_members, n_nonmembers)))
    if unseen >= 0.5 or not detectable(high):
        raise UndecidableError(
            f"smallest_detectable_auc: {n_members} members and {n_nonmembers} non-members cannot "
            f"tell any AUC from 0.5 at level {level:g}; use more rows."
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if detectable(middle) else (middle, high)
    return high


def proportion_half_width(p: float, n: int, *, level: float = 0.95) -> float:
    """Return half the width of the exact interval of a share observed as `p` in n rows.

    Args:
        p: observed share, in [0, 1]; p * n need not be whole.
        n: number of rows.
        level: coverage, in (0, 1).

    Raises:
        UndecidableError: when n is 0.
        ConfigError: when `p` or `level` is not a share.
    """
    require_share(p, "p")
    if n < 1:
        raise UndecidableError(f"proportion_half_width: n={n}; a share needs at least one row.")
    low, high = beta_bounds(p * n, n, tail=tail_of(level))
    return (high - low) / 2
