"""`guarantee`: a run's differential privacy by the accountant, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from safecompress.compression.jobs import ConfiguredStage, Job, build_defenses
from safecompress.compression.requirements import build_first_mask
from safecompress.compression.session import Session
from safecompress.config import CompressConfig
from safecompress.data import Splits
from safecompress.defenses import DpSgd, Spent, epsilon
from safecompress.registry import split_request
from safecompress.verdicts.document import DifferentialPrivacy

_LEARNED = "What the preprocessing learned from members is not counted."


def guarantee(session: Session) -> DifferentialPrivacy | None:
    """Return ε, δ and a sentence about them; None if no stage uses DP-SGD.

    ε is None if the guarantee does not hold, because the model depends on given weights, on a stage
    without DP-SGD, or on a choice that looked at members.

    Args:
        session: the run, before or after training.
    """
    stages = _stages(session)
    private = {job: _dp_sgd(session.config, session.splits, job) for job in stages}
    used = [defense for defense in private.values() if defense is not None]
    if not used:
        return None
    if reason := _void(session, private):
        return DifferentialPrivacy(
            epsilon=None, delta=None, text=f"DP-SGD promises nothing here: {reason}"
        )
    delta = max(defense.delta for defense in used)
    spent = [
        _spent(session, job, defense) for job, defense in private.items() if defense is not None
    ]
    total = epsilon(spent, delta=delta)
    text = (
        f"DP-SGD: (ε, δ)-differentially private training with ε = {total:.3g} at δ = {delta:g}, "
        f"by Opacus' Rényi accountant, for neighbors that differ by one member. {_LEARNED}"
    )
    return DifferentialPrivacy(epsilon=total, delta=delta, text=text)


def _stages(session: Session) -> list[Job]:
    """Return the jobs whose training the compressed model depends on."""
    jobs: list[Job] = []
    if build_first_mask(session.config).needs_dense and session.steps("dense"):
        jobs.append("dense")
    if session.steps("sparse"):
        jobs.append("search")
    return jobs


def _dp_sgd(config: CompressConfig, splits: Splits, job: Job) -> DpSgd | None:
    return next((d for d in build_defenses(config, splits, job) if isinstance(d, DpSgd)), None)


def _void(session: Session, private: Mapping[Job, DpSgd | None]) -> str:
    """Return why the guarantee does not hold, or an empty string if it holds."""
    without_dp_sgd = [job for job, defense in private.items() if defense is None]
    used = [defense for defense in private.values() if defense is not None]
    if session.trained:
        return "it began with given weights, and how these were trained is not known."
    if without_dp_sgd:
        where = "dense.defenses" if "dense" in without_dp_sgd else "steer.defenses"
        return f"another stage trains without it; list dp-sgd in {where}, too."
    if not all(defense.noise for defense in used):
        return "no noise was added."
    if build_first_mask(session.config).looks_at_members:
        name, _ = split_request(session.config.sparse.initialize, where="sparse.initialize")
        return f"the first mask '{name}' looks at members; take another sparse.initialize."
    if session.config.sparse.rounds:
        return "proposals and the tests between them look at members; set sparse.rounds: 0."
    return ""


def _spent(session: Session, job: Job, defense: DpSgd) -> Spent:
    stage: ConfiguredStage = "dense" if job == "dense" else "sparse"
    members = len(session.splits.members)
    drawn = min(session.train_config(stage).batch_size, members)
    return defense.noise, drawn / members, session.steps(stage)
