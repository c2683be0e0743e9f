"""`record`: a model's outputs for members and non-members, recorded for an audit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from safecompress.data import GroupsGiven, RecordedOutputs, attach_groups
from safecompress.data.classes import ClassList
from safecompress.data.output_kind import OutputKind
from safecompress.targets.ask import ask, rows_for
from safecompress.targets.given import Group, target_of


def record(
    model: nn.Module | Callable[..., Any],
    members: Group,
    nonmembers: Group,
    *,
    name: str = "model",
    white_box: bool = False,
    classes: Sequence[str] | None = None,
    outputs: OutputKind = "auto",
    groups: GroupsGiven | None = None,
) -> RecordedOutputs:
    """Record a model's outputs for rows it was trained on and rows it was not.

    Args:
        model: a module, called in evaluation mode and its own precision, fp32 at least; a
            classifier with the methods of scikit-learn, or one of them; or any callable that takes
            the inputs of up to 512 rows and returns logits or probabilities (n, classes), or those
            of class 1 of two (n,), a tensor, an array, or an object with `logits`, as Hugging Face
            models return. A callable gets tensors in the type of what is given, and data frames,
            sparse matrices and lists of texts as they are.
        members: inputs and labels of rows the model was trained on, preprocessed for the model.
        nonmembers: inputs and labels of rows it was not trained on, preprocessed alike.
        name: the model's name in reports.
        white_box: whether to record what a module computes inside, too, for white-box attacks.
        classes: names of the classes in the order of the model's columns. Labels that are texts
            need them, unless the model has names of its own.
        outputs: `logits` or `probabilities`, what the model returns; `auto` reads it off the
            numbers and refuses those that leave it open.
        groups: by name, one value for each member and for each non-member, such as
            `{"region": (of the members, of the non-members)}`; the audit judges the leak within
            the groups of each, too.

    Returns:
        What `audit` takes. It includes the rows, so that the audit can test whether the groups
        differ without any model, and the model, so that attacks can get outputs for other rows. A
        row that is given several times is recorded once.

    Raises:
        ConfigError: when a white-box record is wanted of a model that is no module.
        DataError: when inputs and labels do not fit together, both groups share rows, or it is
            unclear whether the outputs are logits.
        ModelError: when the model's outputs are not one row of logits for each row.
        NonFiniteError: when a logit is NaN or infinite.

    Example:
        One record can be audited any number of times:

        >>> import torch
        >>> from safecompress import Limits, audit, record
        >>> draw = torch.Generator().manual_seed(0)
        >>> x, noise = torch.randn(500, 4, generator=draw), torch.randn(500, 3, generator=draw)
        >>> y = (x[:, :3] + noise).argmax(dim=1)
        >>> model = nn.Linear(4, 3)  # load yours here; this one is right without any training
        >>> _ = nn.init.eye_(model.weight)
        >>> recorded = record(model, (x[:300], y[:300]), (x[300:], y[300:]), name="linear")
        >>> recorded.kind, recorded.outputs.members.logits.shape
        ('logits', torch.Size([300, 3]))
        >>> result = audit(recorded, limits=Limits(max_auc=0.75))
        >>> print(result.verdict.status)
        PASS
    """
    target = target_of(model, name=name, classes=ClassList.given(classes))
    rows = rows_for(target, (members, nonmembers), seed=0)
    recorded = ask(target, rows, white_box=white_box, outputs=outputs)
    return attach_groups(recorded, groups or {})
