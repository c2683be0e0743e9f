"""The default suite, and suites from a configuration."""

from __future__ import annotations

from collections.abc import Sequence

from safecompress.attacks import ATTACKS
from safecompress.checks.check import Check
from safecompress.checks.conditions import (
    Condition,
    at_least_dense,
    at_most,
    at_most_dense,
    condition_from,
)
from safecompress.checks.measures import Accuracy, AttackMeasure, Density, Measure, measure_from
from safecompress.checks.metrics import BalancedAccuracy, TprAtFpr
from safecompress.checks.suite import Suite
from safecompress.config import CheckConfig, VerdictConfig

DEFAULT_MAX_AUC = 0.60
DEFAULT_ACCURACY_LOSS = 0.05
_STANDARD_ATTACKS = ("loss", "modified-entropy", "neural")
_ONLINE = 2
"""Shadow models that must have seen a row before the online attack has a mean to compare with."""


def shadow_attacks(inside: int) -> tuple[str, ...]:
    """Return the strongest attacks that shadow models allow, by name.

    Args:
        inside: the fewest shadow models that have seen a row.
    """
    return ("lira-online" if inside >= _ONLINE else "lira-offline", "rmia")


def default_suite(*, density: float | None, relative: bool, shadows: Sequence[str] = ()) -> Suite:
    """Return the suite of a run that names no checks.

    Args:
        density: the target density, or None where size is not judged.
        relative: whether there is a dense model to compare with.
        shadows: attacks with shadow models, where there are some.
    """
    names = (*_STANDARD_ATTACKS, *shadows)
    attacks = [ATTACKS.build(name, where="default suite") for name in names]
    checks = []
    if density is not None:
        checks.append(_named(Density(), at_most(density + 1e-9), name="density"))
    if relative:
        checks.append(_named(Accuracy(), at_least_dense(-DEFAULT_ACCURACY_LOSS)))
    checks += [_named(AttackMeasure(a), at_most(DEFAULT_MAX_AUC)) for a in attacks]
    if relative:
        checks += [_named(AttackMeasure(a), at_most_dense(0.0)) for a in attacks]
    by_class = AttackMeasure(attacks[1], BalancedAccuracy(per_class=True))
    checks.append(_named(by_class, at_most(DEFAULT_MAX_AUC)))
    checks.append(_named(AttackMeasure(attacks[1], TprAtFpr(0.01)), at_most(0.05), critical=False))
    return Suite(tuple(checks))


def _named(
    measure: Measure, condition: Condition, *, name: str | None = None, critical: bool = True
) -> Check:
    return Check(name or f"{measure.name} {condition}", measure, condition, critical)


def check_from(config: CheckConfig, *, where: str) -> Check:
    """Build one check from its configuration."""
    measure = measure_from(config.measure, where=f"{where}.measure")
    condition = condition_from(
        {str(k): v for k, v in config.condition.items()}, where=f"{where}.condition"
    )
    return _named(measure, condition, name=config.name, critical=config.critical)


def suite_from(
    config: VerdictConfig, *, density: float, relative: bool, shadows: Sequence[str] = ()
) -> Suite:
    """Build the suite of a run: the configured checks, or the default suite."""
    if not config.checks:
        return default_suite(density=density, relative=relative, shadows=shadows)
    return Suite(
        tuple(check_from(c, where=f"verdict.checks[{i}]") for i, c in enumerate(config.checks))
    )
