"""The score from which on a row is guessed to be a member: one for all rows, or one per class."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from safecompress.errors import ConfigError, DataError, NonFiniteError
from safecompress.stats._inputs import Floats, Ints, as_labels, as_scores, two_scores


def best_threshold(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """Return the threshold t at which the guess "score >= t is a member" is most often right.

    A higher score always means "more member". Where members have the lower scores, the threshold
    makes every row a member (balanced accuracy 0.5); the guess is never reversed. The largest of
    equally good thresholds wins, which makes the fewest rows members. The threshold is always one
    of the given scores: an increasing transform of the scores transforms it, too, and a comparison
    with scores is exact.

    Args:
        members: scores of members, (m,), infinities allowed; higher means more member.
        nonmembers: scores of non-members, (n,).

    Returns:
        The threshold that maximizes balanced accuracy, compared exactly in integers.

    Raises:
        UndecidableError: when a side is empty.
        NonFiniteError: when a score is NaN.

    >>> best_threshold([3.0, 2.0, 0.0], [1.0, 0.0])
    2.0
    """
    m, n = two_scores(members, nonmembers, "best_threshold")
    # Only members' scores are tried. Raising a threshold to the next member's score loses no true
    # positive and may lose false positives; a threshold above all members has no true positive.
    m.sort()
    n.sort()
    # Of tied members only the first has the right count of true positives. The others have too low
    # a count, so they cannot win.
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
        member_scores: scores of members, (m,); higher means more member.
        nonmember_scores: scores of non-members, (n,).
        member_labels: class indices of the members, integers (m,).
        nonmember_labels: class indices of the non-members, integers (n,).
        classes: number of classes.
        default: threshold of a class without members or without non-members.

    Returns:
        Thresholds, float64 (classes,).

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
        present, thresholds = _best_per_group(m[m_keep], n[n_keep], labels)
        result[present] = thresholds
    return result


def _best_per_group(members: Floats, nonmembers: Floats, groups: Ints) -> tuple[Ints, Floats]:
    """Return the groups that occur, and the best threshold of each.

    Args:
        members: scores (m,).
        nonmembers: scores (n,).
        groups: int64 (m + n,), the groups of members, then of non-members; every group has both.
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

    # Per row the counts of its group's rows with at least its score, which the guess "score >= this
    # score" makes members.
    true_positives = running[1:] - running[starts][group]
    positives = np.arange(1, len(scores) + 1) - starts[group]
    # TPR - FPR times both group sizes, in integers: equally good thresholds tie exactly.
    gain = true_positives * (sizes - m_total)[group] - (positives - true_positives) * m_total[group]
    # Of tied rows only the last has the counts of all of them.
    last[:-1] |= scores[1:] != scores[:-1]
    gain[~last] = np.iinfo(gain.dtype).min
    best = np.maximum.reduceat(gain, starts)
    # Scores descend within a group, so its first best row has the largest best threshold.
    winners = np.flatnonzero(gain == best[group])
    _, first = np.unique(group[winners], return_index=True)
    return groups[starts], scores[winners[first]]
