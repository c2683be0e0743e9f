"""`canary_scores`, `canary_figures`: what a finished model shows about its run's canaries."""

from __future__ import annotations

from safecompress.candidate import Candidate
from safecompress.checks.canaries import CanaryScores, calibrated_scores, guess
from safecompress.compression.session import Session
from safecompress.data import CanaryKind
from safecompress.verdicts.document import CanaryFigures, DifferentialPrivacy

_DELTA = 1e-5
"""δ of the guarantees that are tested where the run gives none itself."""


def canary_scores(
    session: Session, model: Candidate, *, promised: DifferentialPrivacy | None
) -> CanaryScores | None:
    """Return how strongly a model suggests of each canary that it was trained on it.

    Args:
        session: the run.
        model: the trained model.
        promised: what DP-SGD promises, whose δ the bound is then given at.

    Returns:
        The scores and coins; None if the run has no canaries.
    """
    canaries = session.splits.canaries
    if canaries is None:
        return None
    trainer = session.trainers.plain()
    said, others = (
        trainer.outputs(model, rows) for rows in (canaries.rows, session.splits.steer.nonmembers)
    )
    scores = calibrated_scores(said, others, mislabeled=canaries.kind == "mislabeled")
    delta = None if promised is None else promised.delta
    return CanaryScores(scores, canaries.included, _DELTA if delta is None else delta)


def canary_figures(
    scores: CanaryScores, kind: CanaryKind, *, promised: DifferentialPrivacy | None, level: float
) -> CanaryFigures:
    """Return what the canaries show, in figures and in words.

    Args:
        scores: of the compressed model.
        kind: whether the canaries had wrong labels.
        promised: what DP-SGD promises, which the bound is compared with.
        level: one-sided confidence, in (0, 1).
    """
    count = len(scores.scores)
    found = guess(scores, level=level)
    perfect = CanaryScores(scores.included.double(), scores.included, scores.delta)
    reach = guess(perfect, level=level).epsilon
    included = int(scores.included.sum())
    text = (
        f"Canaries: {included} of {count} {kind} rows were trained on, each by the flip of a coin; "
        f"{found.correct} of {found.number} guesses of the coins were right, so the training is "
        f"not (ε, δ)-differentially private for ε below {found.epsilon:.3g} at δ = "
        f"{scores.delta:g} (confidence {level:.3g}, one run). Guesses without error would have "
        f"shown {reach:.3g}; the bound may be far below the true ε, and a bound of 0 does not show "
        "that there is no leak."
    )
    promise = None if promised is None else promised.epsilon
    if promise is not None and found.epsilon > promise:
        text += f" This refutes the ε of {promise:.3g} that DP-SGD promises."
    return CanaryFigures(
        kind=kind,
        count=count,
        included=included,
        guesses=found.number,
        correct=found.correct,
        epsilon=found.epsilon,
        reach=reach,
        delta=scores.delta,
        level=level,
        text=text,
    )
