"""`limits_of`, `signals_that_steered`: which of a verdict's limits and attacks steer its search."""

from __future__ import annotations

from safecompress.attacks.lira import CalibratedAttack
from safecompress.attacks.six_numbers import SixNumbersAttack
from safecompress.checks import (
    MEASURES,
    OBJECTIVES,
    Objective,
    SteeringLimits,
    attacks_of_shadows,
    steering_attacks,
    steering_limits,
    steering_measures,
    suite_from,
)
from safecompress.compression.requirements import has_references, needs_judges
from safecompress.compression.session import Session
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.errors import ConfigError
from safecompress.protocols import Attack
from safecompress.run.own_loop import own_loop_of
from safecompress.topology import rounded_density

_OF_CANDIDATES = frozenset({"groups", "internals", "rows", "span", "target"})
_OF_DENSE = frozenset({"parent", "parent_target"})


def limits_of(
    objective: Objective,
    config: CompressConfig,
    splits: Splits,
    *,
    density: float,
    has_dense: bool,
) -> SteeringLimits:
    """Return the limits that an objective reads, each with a measure that the loop can compute.

    Args:
        objective: the objective; one that reads no limits costs nothing.
        config: the run's configuration.
        splits: the run's rows.
        density: the target density as a share of whole weights, in (0, 1].
        has_dense: whether there is a dense model to compare with.

    Raises:
        ConfigError: when the objective reads limits and the loop can measure none of them, or
            allows a loss against a dense model that the run does not have.
    """
    if not objective.reads_limits:
        return SteeringLimits()
    shadows = attacks_of_shadows(config, splits)
    suite = suite_from(config, density=density, relative=has_dense, shadows=shadows)
    worth = MEASURES.build(config.steer.worth, where="steer.worth")
    checks = objective.limits(suite, worth=worth)
    own = [c for c in checks if c.condition.relative and c not in suite.checks]
    if own and not has_dense:
        raise ConfigError(
            f"steer.objective: '{own[0].name}' compares with the dense model, and this run has "
            "none; train one (dense.epochs), or take another objective or preset, e.g. balanced."
        )
    available = _OF_CANDIDATES | (_OF_DENSE if has_dense else frozenset())
    limits = steering_limits(
        checks,
        available=available | (frozenset({"judges"}) if needs_judges(config) else frozenset()),
        stand_in=_stand_in(config),
        relative=has_dense,
    )
    if not limits.checks:
        why = " ".join(limits.notes) or "The verdict has no critical check."
        raise ConfigError(
            "steer.objective: it ranks by the verdict's limits, and the loop can measure none of "
            f"them. {why} Add a limit, such as accuracy or the AUC of loss, or take another "
            "objective."
        )
    return limits


def signals_that_steered(session: Session) -> frozenset[str]:
    """Return the kinds of attacks by which a run's search chose; none where it chose nothing.

    Args:
        session: the run.
    """
    config, has_dense = session.config, session.trained or session.steps("dense") > 0
    own = own_loop_of(session.folder.path)
    # Whoever trains by a loop of their own may look at every test, and stop or choose by it.
    chose = config.sparse.rounds > 0 if own is None else own.tests > 0
    if not chose or config.steer.replay is not None:
        return frozenset()
    objective = OBJECTIVES.build(config.steer.objective, where="steer.objective")
    if objective.blind and own is None:
        return frozenset()
    density = rounded_density(session.module, config.sparse.density)
    limits = limits_of(objective, config, session.splits, density=density, has_dense=has_dense)
    measures = [*steering_measures(config), *(check.measure for check in limits.checks)]
    attacks = [a for measure in measures for a in measure.uses_attacks]
    attacks += steering_attacks(config, references=has_references(config))
    return frozenset(attack.signals for attack in attacks)


def _stand_in(config: CompressConfig) -> Attack | None:
    """Return the attack of the loop that stands for those with shadow models; None without one."""
    if needs_judges(config):
        return SixNumbersAttack()
    return CalibratedAttack() if has_references(config) else None
