"""`assert_safe` and the fixture `safety`: a model's safety as a pytest test.

pytest finds this plugin through its entry point. SafeCompress and torch are imported only when a
test uses it, so that other test runs start as fast as without the plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from safecompress.audit import Audit

_SHOWN_RECORDS = 5


def assert_safe(
    model: Any,
    data: Any = None,
    *,
    max_auc: float = 0.60,
    max_group_auc: float | None = None,
    max_advantage: float | None = None,
    max_tpr: tuple[tuple[float, float], ...] = (),
    baseline: Any = None,
    groups: Any = None,
    group_by: Sequence[str] = (),
    white_box: bool = False,
    classes: Sequence[str] | None = None,
    accuracy: float | None = None,
    inconclusive: bool = False,
    outputs: Literal["auto", "logits", "probabilities"] = "auto",
    seed: int = 0,
) -> Audit:
    """Audit a model and fail the test if it exceeds its limits.

    Args:
        model: a module, a classifier with `predict_proba`, a callable that returns logits or
            probabilities, or the path of an `.onnx`, a Hugging Face classifier's folder, a run
            folder or an `.npz` of recorded outputs.
        data: for a model, `((x, y), (x, y))`: inputs and labels of rows it was trained on, and of
            rows it was not. A run folder and recorded outputs need none.
        max_auc: largest AUC that any attack may have, in [0.5, 1].
        max_group_auc: largest AUC that any attack may have within a class or group, in [0.5, 1];
            None takes `max_auc`, and classes of too few rows to settle it are a warning.
        max_advantage: largest difference between an attack's true-positive and false-positive rate,
            in [0, 1]; None sets no limit.
        max_tpr: pairs of the largest true-positive rate and the false-positive rate at which it is
            measured, both in [0, 1].
        baseline: the dense model; the audited model must not leak more than it.
        groups: by name, one value for each member and each non-member, such as
            `{"region": (of members, of non-members)}`, within whose groups the limit is kept, too.
        group_by: columns of the data whose values are such groups.
        white_box: whether attacks may use the module itself and not only its outputs.
        classes: names of the classes in the order of the model's columns; labels that are texts
            need them, unless the model has names of its own.
        accuracy: the model's accuracy on rows it was not trained on, in [0, 1], which
            the non-members must bear out; a very weak model needs it.
        inconclusive: whether the test also passes where there are too few rows to decide.
        outputs: what the model's outputs are; `auto` reads it off the numbers.
        seed: seed of every random decision.

    Returns:
        The audit.

    Raises:
        AssertionError: with the checks that failed, their figures and intervals, and the members
            that are most exposed.
        UsageError: on a model or data that cannot be audited.
    """
    __tracebackhide__ = True
    from safecompress.audit import Limits, audit
    from safecompress.checks import Status

    limits = Limits(max_auc, max_advantage, max_tpr, max_group_auc=max_group_auc)
    result = audit(
        model,
        data,
        baseline=baseline,
        limits=limits,
        groups=groups,
        group_by=group_by,
        white_box=white_box,
        outputs=outputs,
        classes=classes,
        accuracy=accuracy,
        seed=seed,
        progress=False,
    )
    accepted = {Status.PASS, Status.INCONCLUSIVE} if inconclusive else {Status.PASS}
    if result.verdict.status not in accepted:
        raise AssertionError(_message(result))
    return result


def _message(result: Audit) -> str:
    """Return the verdict, the checks that did not pass, and the most exposed members, by line."""
    from safecompress.verdicts.verdict import check_line

    verdict = result.verdict
    lines = [f"{verdict.status}: {verdict.sentence}"]
    lines += [check_line(c) for c in verdict.checks if c.critical and c.status != "PASS"]
    if result.exposed:
        lines.append(f"members that '{result.strongest}' is surest of:")
        lines += [
            f"  row {e.row}: score {e.score:.4g}, reached by {e.false_positive_rate:.2%} of the "
            "non-members"
            for e in result.exposed[:_SHOWN_RECORDS]
        ]
    return "\n".join(lines)


class Safety:
    """The fixture `safety`: audits whose reports are written to the test's own folder.

    Args:
        folder: the folder that `report` writes to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    assert_safe: Callable[..., Audit] = staticmethod(assert_safe)

    def report(self, model: Any, data: Any = None, **options: Any) -> Path:
        """Audit a model, write its report into the test's folder, and return the page's path.

        Args:
            model: a model, or a path, as `safecompress.audit` takes it.
            data: members and non-members, as `safecompress.audit` takes them.
            **options: other arguments of `safecompress.audit`, except `out`.

        Raises:
            UsageError: on a model or data that cannot be audited.
        """
        from safecompress.audit import audit
        from safecompress.run.folder import REPORT

        result = audit(model, data, out=self._folder / "audit", **({"progress": False} | options))
        return Path(result.folder or self._folder) / REPORT


@pytest.fixture
def safety(tmp_path: Path) -> Safety:
    """Return audits of models: `safety.assert_safe(model, data, max_auc=0.55)`."""
    return Safety(tmp_path)
