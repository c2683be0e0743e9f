"""Checks: measures judged against conditions, suites of them, and objectives that rank."""

from safecompress.checks.attribute import AttributeInference
from safecompress.checks.canaries import CanaryScores, EpsilonLowerBound
from safecompress.checks.check import Check, CheckResult, named_check
from safecompress.checks.conditions import (
    Condition,
    Status,
    at_least,
    at_least_dense,
    at_most,
    at_most_dense,
    rows_to_settle,
)
from safecompress.checks.group_findings import GroupFinding, group_clause
from safecompress.checks.group_leak import GroupLeak
from safecompress.checks.leak_checks import (
    auc_checks,
    dense_checks,
    low_fpr_checks,
    shadow_attacks,
)
from safecompress.checks.margins import LimitMargin
from safecompress.checks.measures import MEASURES, Accuracy, AttackMeasure, Density, Measure
from safecompress.checks.metrics import (
    Auc,
    BalancedAccuracy,
    Metric,
    TprAtFpr,
    metric_named,
)
from safecompress.checks.noise import AccuracyUnderNoise
from safecompress.checks.objectives import OBJECTIVES, Objective, Outcome, Ranked
from safecompress.checks.overall import overall
from safecompress.checks.presets import (
    attacks_of_shadows,
    check_from,
    default_suite,
    group_columns,
    steering_attacks,
    steering_measures,
    suite_from,
)
from safecompress.checks.query_saving import QuerySavingMeasure
from safecompress.checks.smallest_margin import SmallestMargin
from safecompress.checks.steering_limits import SteeringLimits, steering_limits
from safecompress.checks.subject import Subject
from safecompress.checks.suite import EXIT_CODES, Suite
from safecompress.checks.transfer import TransferGain, TransferRate
from safecompress.checks.worth import (
    WORTH,
    GainOverMajority,
    MacroF1,
    ModelBalancedAccuracy,
    WorstClassRecall,
)
from safecompress.stats import corrected_level

__all__ = [
    "EXIT_CODES",
    "MEASURES",
    "OBJECTIVES",
    "WORTH",
    "Accuracy",
    "AccuracyUnderNoise",
    "AttackMeasure",
    "AttributeInference",
    "Auc",
    "BalancedAccuracy",
    "CanaryScores",
    "Check",
    "CheckResult",
    "Condition",
    "Density",
    "EpsilonLowerBound",
    "GainOverMajority",
    "GroupFinding",
    "GroupLeak",
    "LimitMargin",
    "MacroF1",
    "Measure",
    "Metric",
    "ModelBalancedAccuracy",
    "Objective",
    "Outcome",
    "QuerySavingMeasure",
    "Ranked",
    "SmallestMargin",
    "Status",
    "SteeringLimits",
    "Subject",
    "Suite",
    "TprAtFpr",
    "TransferGain",
    "TransferRate",
    "WorstClassRecall",
    "at_least",
    "at_least_dense",
    "at_most",
    "at_most_dense",
    "attacks_of_shadows",
    "auc_checks",
    "check_from",
    "corrected_level",
    "default_suite",
    "dense_checks",
    "group_clause",
    "group_columns",
    "low_fpr_checks",
    "metric_named",
    "named_check",
    "overall",
    "rows_to_settle",
    "shadow_attacks",
    "steering_attacks",
    "steering_limits",
    "steering_measures",
    "suite_from",
]
