"""A model's safety as a test among the others: `assert_safe`, and the fixture `safety`.

pytest finds this plugin through its entry point; nothing heavy is imported before a test asks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from safecompress.audit import Audit

_SHOWN_RECORDS = 5


def assert_safe(
    model: Any,
    data: Any = None,
    *,
    max_auc: float = 0.60,
    max_advantage: float | None = None,
    max_tpr: tuple[tuple[float, float], ...] = (),
    baseline: Any = None,
    white_box: bool = False,
    inconclusive: bool = False,
    seed: int = 0,
) -> Audit:
    """Audit a model and fail the test where it does not keep its limits.

    Args:
        model: a module, a callable that returns logits or probabilities, or the path of an `.onnx`,
            a Hugging Face classifier's folder, a run folder or an `.npz` of recorded outputs.
        data: for a model, `((x, y), (x, y))`: rows it was trained on, and rows it was not.
        max_auc: most that any attack's AUC may be.
        max_advantage: most that any attack's true-positive minus false-positive rate may be.
        max_tpr: pairs of the most a true-positive rate may be and the false-positive rate it is
            taken at.
        baseline: the dense model, which it must not leak more than.
        white_box: whether the attacker holds the module itself.
        inconclusive: whether too few rows to decide pass, too.
        seed: fixes every random decision.

    Returns:
        The audit.

    Raises:
        AssertionError: saying which checks failed, with figures and intervals, and which members
            are most exposed.
        UsageError: on a model or data that cannot be audited.
    """
    __tracebackhide__ = True
    from safecompress.audit import Limits, audit
    from safecompress.checks import Status

    limits = Limits(max_auc, max_advantage, max_tpr)
    found = audit(model, data, baseline=baseline, limits=limits, white_box=white_box, seed=seed)
    accepted = {Status.PASS, Status.INCONCLUSIVE} if inconclusive else {Status.PASS}
    if found.verdict.status not in accepted:
        raise AssertionError(_complaint(found))
    return found


def _complaint(found: Audit) -> str:
    from safecompress.verdicts.verdict import check_line

    verdict = found.verdict
    lines = [f"{verdict.status}: {verdict.sentence}"]
    lines += [check_line(c) for c in verdict.checks if c.critical and c.status != "PASS"]
    if found.exposed:
        lines.append(f"members that '{found.strongest}' is surest of:")
        lines += [
            f"  row {e.row}: score {e.score:.4g}, reached by {e.false_positive_rate:.2%} of the "
            "non-members"
            for e in found.exposed[:_SHOWN_RECORDS]
        ]
    return "\n".join(lines)


class Safety:
    """What the fixture `safety` gives: audits whose results end in the test's own folder.

    Args:
        folder: where `report` writes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    assert_safe: Callable[..., Audit] = staticmethod(assert_safe)

    def report(self, model: Any, data: Any = None, **options: Any) -> Path:
        """Audit a model, write its report into the test's folder, and return the page's path.

        Args:
            model: as `safecompress.audit` takes it.
            data: the same.
            **options: its other options.
        """
        from safecompress.audit import audit
        from safecompress.run.folder import REPORT

        found = audit(model, data, out=self._folder / "audit", **options)
        return Path(found.folder or self._folder) / REPORT


@pytest.fixture
def safety(tmp_path: Path) -> Safety:
    """Audits of models: `safety.assert_safe(model, data, max_auc=0.55)`."""
    return Safety(tmp_path)
