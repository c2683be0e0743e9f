"""`JointAttack`: membership inference from several published files of one model, read side by side.

Who publishes a model in several files lets an attacker hold all of them. Each file alone may hide a
row behind its own rounding; what the files say together, and how each differs from what they say on
average, need not. The files are not exchangeable: one may leak where the others do not, so the
attack keeps them apart, unlike `FamilyAttack`, which reads statistics over versions without names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from safecompress.attacks.features import OutputFeatures
from safecompress.attacks.network import NetworkAttack
from safecompress.attacks.options import require_at_least
from safecompress.attacks.pair import differences
from safecompress.attacks.registry import ATTACKS
from safecompress.errors import DataError
from safecompress.protocols import Evidence, Outputs


@dataclass(frozen=True)
class JointAttack(NetworkAttack):
    """A network on every file's features and on its `differences` from the files' mean answer.

    It is to a set of files what `PairAttack` is to two; the number of features grows with the
    number of files, not with that of pairs, so that as many rows fit it.

    Args:
        kinks: number of units along every feature, at least 1.
        top: number of largest log-probabilities read of each file, in falling order.

    Raises:
        ConfigError: when an option is out of range.

    Reference: after the attacker of CompLeak, USENIX Security 2026, who holds several compressed
    versions; that one knows no file by its name.
    """

    name: ClassVar[str] = "joint"
    signals: ClassVar[str] = "versions"
    requires: ClassVar[frozenset[str]] = frozenset({"family"})

    kinks: int = 2
    top: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        require_at_least(self, top=1)

    def features(self, evidence: Evidence) -> Tensor:
        """Return the features of k files and their differences from the mean answer.

        The result is float64 (n, k · (top + 14)), finite.

        Args:
            evidence: outputs of one file, and of the others as its family, on n rows.

        Raises:
            DataError: when the files have different numbers of classes.
        """
        files = (evidence.outputs, *cast("tuple[Outputs, ...]", evidence.family))
        widths = {o.classes for o in files}
        if len(widths) > 1:
            raise DataError(
                f"{self.name}: files of {', '.join(map(str, sorted(widths)))} classes; expected "
                "files of one model."
            )
        center = _mean_answer(files)
        alone = [o.per_row(OutputFeatures(self.top)) for o in files]
        return torch.cat([*alone, *(differences(o, center) for o in files)], dim=1)


def _mean_answer(files: tuple[Outputs, ...]) -> Outputs:
    """Return the mean of the files' log-probabilities as the outputs of one more model."""
    log_p = torch.stack([torch.log_softmax(o.logits.double(), dim=1) for o in files])
    return Outputs(log_p.mean(dim=0).float(), files[0].labels, files[0].ids)


ATTACKS.add(
    "joint",
    JointAttack,
    summary="a small network on what each of several files of one model says, side by side",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.1 s for 1,000 + 1,000 fit rows × 3 files on one core; linear in rows",
)
