"""Pure statistics of scores and guesses about members and non-members, on numpy arrays.

A higher score means "more member". Nothing here depends on a model or a file.
"""

from __future__ import annotations

from safecompress.stats.by_class import (
    balanced_recall,
    balanced_recall_difference,
    class_recalls,
    mean_of,
    recall_differences,
)
from safecompress.stats.epsilon import LARGEST_EPSILON, one_run_epsilon, one_run_p_value
from safecompress.stats.f1 import macro_f1, macro_f1_difference, macro_f1_interval
from safecompress.stats.intervals import (
    Interval,
    auc_interval,
    auc_p_value,
    balanced_accuracy_interval,
    clopper_pearson,
    surely_below_chance,
    two_sided,
)
from safecompress.stats.low_fpr import tpr_at_fpr, tpr_at_fpr_interval
from safecompress.stats.multiple import corrected_level, holm
from safecompress.stats.paired import (
    accuracy_difference,
    auc_difference,
    balanced_accuracy_difference,
    bootstrap_difference,
    excess_gain,
    tpr_at_fpr_difference,
)
from safecompress.stats.power import (
    auc_half_width,
    proportion_half_width,
    smallest_detectable_auc,
)
from safecompress.stats.resampling import bootstrap_interval, jackknife_interval
from safecompress.stats.roc import (
    Roc,
    advantage,
    auc,
    balanced_accuracy,
    precision_at_prior,
    realized_tpr_at_fpr,
    roc_curve,
)
from safecompress.stats.thresholds import best_threshold, class_thresholds

__all__ = [
    "LARGEST_EPSILON",
    "Interval",
    "Roc",
    "accuracy_difference",
    "advantage",
    "auc",
    "auc_difference",
    "auc_half_width",
    "auc_interval",
    "auc_p_value",
    "balanced_accuracy",
    "balanced_accuracy_difference",
    "balanced_accuracy_interval",
    "balanced_recall",
    "balanced_recall_difference",
    "best_threshold",
    "bootstrap_difference",
    "bootstrap_interval",
    "class_recalls",
    "class_thresholds",
    "clopper_pearson",
    "corrected_level",
    "excess_gain",
    "holm",
    "jackknife_interval",
    "macro_f1",
    "macro_f1_difference",
    "macro_f1_interval",
    "mean_of",
    "one_run_epsilon",
    "one_run_p_value",
    "precision_at_prior",
    "proportion_half_width",
    "realized_tpr_at_fpr",
    "recall_differences",
    "roc_curve",
    "smallest_detectable_auc",
    "surely_below_chance",
    "tpr_at_fpr",
    "tpr_at_fpr_difference",
    "tpr_at_fpr_interval",
    "two_sided",
]
