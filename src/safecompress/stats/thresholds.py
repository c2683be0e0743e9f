"""The score from which on a row is called a member: one for all rows, or one per class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import ConfigError, DataError, NonFiniteError
from safecompress.stats._inputs import Floats, Ints, as_labels, as_scores, two_scores


def best_threshold(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Return the threshold t at which the guess "score >= t is a member" is most often right.

    The orientation is fixed: a higher score always means more member. Scores that point the wrong
    way get a threshold that calls every row a member (balanced accuracy 0.5), never a flipped one.
    Among equally good thresholds the largest wins, the one that accuses the fewest rows. The
    threshold is always one of the given scores, so it maps along under any increasing transform
    and compares exactly at the scores' own precision.

    Args:
        members: scores of members, (m,), infinities allowed; higher = more member.
        nonmembers: scores of non-members, (n,).

    Returns:
        The threshold that maximizes balanced accuracy; ties are settled in integers.

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.

    >>> best_threshold([3.0, 2.0, 0.0], [1.0, 0.0])
    2.0
    """
    m, n = two_scores(members, nonmembers, "best_threshold")
    # The best threshold is a member's score: one just above a non-member's accuses fewer of them
    # and no fewer members, and where no member scores above it, it accuses no member at all.
    m.sort()
    n.sort()
    # Of tied members the first is counted right and the others too low, so they win nothing.
    true_positives = np.arange(len(m), 0, -1)
    false_positives = len(n) - np.searchsorted(n, m)
    # TPR - FPR times both group sizes, in integers: equally good thresholds tie exactly.
    gain = true_positives * len(n) - false_positives * len(m)
    return float(m[len(m) - 1 - gain[::-1].argmax()])


def class_thresholds(
    member_scores: ArrayLike,
    nonmember_scores: ArrayLike,
    member_labels: ArrayLike,
    nonmember_labels: ArrayLike,
    *,
    classes: int,
    default: float,
) -> Floats:
    """Return `best_threshold` of every class, from one sort over all rows.

    Args:
        member_scores: (m,), higher = more member.
        nonmember_scores: (n,).
        member_labels: class indices of the members, integers (m,).
        nonmember_labels: class indices of the non-members, integers (n,).
        classes: number of classes.
        default: threshold of a class that lacks members or non-members.

    Returns:
        float64 (classes,).

    Raises:
        DataError: when scores and labels differ in number or a label is outside the classes.
        NonFiniteError: when a score or the default is NaN.

    Reference: per-class thresholds, Song and Mittal, USENIX Security 2021, section 3.
    """
    if classes < 1:
        raise ConfigError(f"class_thresholds: classes={classes}; expected at least 1.")
    if np.isnan(default):
        raise NonFiniteError("class_thresholds: the default threshold is NaN; pass a number.")
    m = as_scores(member_scores, "class_thresholds: member_scores")
    n = as_scores(nonmember_scores, "class_thresholds: nonmember_scores")
    m_labels = as_labels(member_labels, "class_thresholds: member_labels", classes=classes)
    n_labels = as_labels(nonmember_labels, "class_thresholds: nonmember_labels", classes=classes)
    if len(m) != len(m_labels) or len(n) != len(n_labels):
        raise DataError(
            f"class_thresholds: {len(m)} member scores with {len(m_labels)} labels and {len(n)} "
            f"non-member scores with {len(n_labels)} labels; expected one label for every score."
        )
    result = np.full(classes, float(default))
    both = np.bincount(m_labels, minlength=classes) > 0
    both &= np.bincount(n_labels, minlength=classes) > 0
    m_keep, n_keep = both[m_labels], both[n_labels]
    if both.any():
        labels = np.concatenate([m_labels[m_keep], n_labels[n_keep]])
        found, thresholds = _best_per_group(m[m_keep], n[n_keep], labels)
        result[found] = thresholds
    return result


def _best_per_group(members: Floats, nonmembers: Floats, groups: Ints) -> tuple[Ints, Floats]:
    """Return the groups present and the best threshold of each; every group has both kinds.

    Args:
        members: scores (m,).
        nonmembers: scores (n,).
        groups: int64 (m + n,), members first.
    """
    scores = np.concatenate([members, nonmembers])
    order = np.argsort(-scores)
    order = order[np.argsort(groups[order], kind="stable")]
    scores, groups, is_member = scores[order], groups[order], order < len(members)

    last = np.ones(len(groups), dtype=bool)
    np.not_equal(groups[1:], groups[:-1], out=last[:-1])
    ends = np.flatnonzero(last) + 1
    starts = np.concatenate([[0], ends[:-1]])
    sizes = ends - starts
    running = np.zeros(len(scores) + 1, dtype=np.int64)
    np.cumsum(is_member, out=running[1:])
    m_total = running[ends] - running[starts]
    group = np.repeat(np.arange(len(starts)), sizes)

    # Rows at or above each row, in its group: the counts that "score >= this score" accuses.
    true_positives = running[1:] - running[starts][group]
    accused = np.arange(1, len(scores) + 1) - starts[group]
    # TPR - FPR times both group sizes, in integers: equally good thresholds tie exactly.
    gain = true_positives * (sizes - m_total)[group] - (accused - true_positives) * m_total[group]
    # Only the last of tied rows is a threshold's count.
    last[:-1] |= scores[1:] != scores[:-1]
    gain[~last] = np.iinfo(gain.dtype).min
    best = np.maximum.reduceat(gain, starts)
    # Scores descend within a group: its first best row is its largest best threshold.
    winners = np.flatnonzero(gain == best[group])
    _, first = np.unique(group[winners], return_index=True)
    return groups[starts], scores[winners[first]]
