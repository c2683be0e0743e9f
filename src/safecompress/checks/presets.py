"""`default_suite`, `suite_from` and the parts of both: suites of checks for runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from safecompress.attacks import ATTACKS
from safecompress.attacks.lira import CalibratedAttack
from safecompress.checks.by_class import group_checks, worth_checks
from safecompress.checks.check import Check, named_check
from safecompress.checks.conditions import (
    at_least_dense,
    at_most,
    condition_from,
)
from safecompress.checks.group_leak import CLASS, GroupLeak
from safecompress.checks.leak_checks import (
    DEFAULT_MAX_AUC,
    auc_checks,
    dense_checks,
    fewest_shadows,
    low_fpr_checks,
    rate_checks,
    shadow_attacks,
)
from safecompress.checks.measures import Accuracy, AttackMeasure, Density, Measure, measure_from
from safecompress.checks.metrics import BalancedAccuracy
from safecompress.checks.suite import Suite
from safecompress.config import CheckConfig, CompressConfig, Request
from safecompress.config.judging import MARGIN
from safecompress.config.standards import STANDARDS, StandardName
from safecompress.data import Splits
from safecompress.errors import ConfigError
from safecompress.protocols import Attack
from safecompress.registry import split_request

DEFAULT_ACCURACY_LOSS = 0.05
_STANDARD_ATTACKS = ("loss", "modified-entropy", "neural")


def default_suite(
    *,
    density: float | None,
    relative: bool,
    more: Sequence[Attack] = (),
    group_by: Sequence[str] = (),
    margin: float = MARGIN,
    standard: StandardName | None = None,
) -> Suite:
    """Return the suite of a run that names no checks.

    Args:
        density: the target density, in (0, 1], or None where size is not judged.
        relative: whether there is a dense model to compare with.
        more: attacks beside the standard ones, judged by the same bounds.
        group_by: columns whose groups are judged beside the classes.
        margin: AUC that the model may leak more than the dense one, at least 0.
        standard: a published standard whose limits of the leak replace the usual ones.
    """
    asked = None if standard is None else STANDARDS[standard]
    max_auc = DEFAULT_MAX_AUC if asked is None else asked.max_auc
    attacks = [ATTACKS.build(name, where="default suite") for name in _STANDARD_ATTACKS]
    attacks += more
    by_class = AttackMeasure(attacks[1], BalancedAccuracy(per_class=True))
    checks = []
    if density is not None:
        checks.append(named_check(Density(), at_most(density + 1e-9), name="density"))
    if relative:
        checks.append(named_check(Accuracy(), at_least_dense(-DEFAULT_ACCURACY_LOSS)))
    checks += worth_checks(relative=relative)
    checks += auc_checks(attacks, max_auc)
    if relative:
        checks += dense_checks(attacks, margin)
    by = (CLASS, *group_by)
    checks += group_checks(attacks, bound=max_auc, by=by, decisive=asked is not None)
    checks.append(named_check(by_class, at_most(max_auc)))
    if asked is not None:
        checks += rate_checks(attacks, asked.max_tpr)
    checks += low_fpr_checks(attacks, besides=[fpr for _, fpr in asked.max_tpr] if asked else ())
    return Suite(tuple(checks))


def check_from(config: CheckConfig, *, where: str) -> Check:
    """Build one check from its configuration.

    Args:
        config: the check's section.
        where: the place of that section, for messages.

    Raises:
        ConfigError: on an unknown measure, option or relation.
    """
    measure = measure_from(config.measure, where=f"{where}.measure")
    condition = condition_from(
        {str(k): v for k, v in config.condition.items()}, where=f"{where}.condition"
    )
    if (
        isinstance(measure, GroupLeak)
        and condition.relation == "at_most"
        and not condition.relative
    ):
        measure = replace(measure, limit=condition.bound)
    return named_check(measure, condition, name=config.name, critical=config.critical)


def steering_attacks(config: CompressConfig, *, references: bool) -> list[Attack]:
    """Build the attacks that steer the search.

    Args:
        config: the run's configuration.
        references: whether the loop has models to compare candidates with, teachers or judges.

    Raises:
        ConfigError: on an unknown attack or option.
    """
    requests = list(config.steer.attacks)
    named = {split_request(a, where="steer.attacks")[0] for a in requests}
    if references and config.steer.calibrated and CalibratedAttack.name not in named:
        requests.append(CalibratedAttack.name)
    return [
        ATTACKS.build(request, where=f"steer.attacks[{i}]") for i, request in enumerate(requests)
    ]


def steering_measures(config: CompressConfig) -> list[Measure]:
    """Build the further risks that steer the search.

    Args:
        config: the run's configuration.

    Raises:
        ConfigError: on a measure whose lower values are worse, because objectives minimize risks
            and would prefer the worst candidate.
    """
    measures = []
    for i, request in enumerate(config.steer.measures):
        measure = measure_from(request, where=f"steer.measures[{i}]")
        if measure.worse == "lower":
            raise ConfigError(
                f"steer.measures[{i}]: of {measure.name} lower is worse, and the loop looks for "
                "the least of each further risk; name a measure whose higher values are worse."
            )
        measures.append(measure)
    return measures


def group_columns(config: CompressConfig) -> tuple[str, ...]:
    """Return the columns by whose groups a run is judged, which its data must have.

    Args:
        config: the run's configuration.

    Raises:
        ConfigError: on an unknown measure or option.
    """
    named = list(config.verdict.group_by)
    for i, check in enumerate(config.verdict.checks):
        measure = measure_from(check.measure, where=f"verdict.checks[{i}].measure")
        if isinstance(measure, GroupLeak) and measure.by != CLASS:
            named.append(measure.by)
    return tuple(dict.fromkeys(named))


def attacks_of_shadows(config: CompressConfig, splits: Splits) -> tuple[Request, ...]:
    """Return the attacks that a run's shadow models allow; none without shadow models.

    Args:
        config: the run's configuration.
        splits: its rows, all of which are dealt to shadow models.
    """
    if not config.shadows.count:
        return ()
    members, others = (
        len(splits.ordinary_members),
        len(splits.steer.nonmembers) + splits.sealed_sizes[1],
    )
    return shadow_attacks(fewest_shadows(config.shadows.count, members=members, others=others))


def suite_from(
    config: CompressConfig, *, density: float, relative: bool, shadows: Sequence[Request] = ()
) -> Suite:
    """Build the suite of a run: the configured checks, or the default suite.

    White-box attacks that steer the search join the default suite, fitted anew on sealed rows, so
    that the verdict assumes no weaker attacker than the search did.

    Args:
        config: the run's configuration.
        density: the target density, in (0, 1].
        relative: whether there is a dense model to compare with.
        shadows: attacks with shadow models that join the default suite.
    """
    checks = config.verdict.checks
    if checks:
        return Suite(
            tuple(check_from(c, where=f"verdict.checks[{i}]") for i, c in enumerate(checks))
        )
    more = [attack for attack in steering_attacks(config, references=False) if attack.white_box]
    more += [ATTACKS.build(request, where="shadows") for request in shadows]
    return default_suite(
        density=density,
        relative=relative,
        more=more,
        group_by=config.verdict.group_by,
        margin=config.verdict.margin,
        standard=config.verdict.standard,
    )
