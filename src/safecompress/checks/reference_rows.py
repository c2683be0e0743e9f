"""`ReferenceRows`: log-odds of a model and of its references on the same rows of one group."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from safecompress.checks.skill import Floats
from safecompress.errors import MissingEvidenceError
from safecompress.protocols import Evidence, Pool
from safecompress.protocols.odds import log_odds
from safecompress.randomness import permutation
from safecompress.stats.ranks import midranks

_MOST = 4000
"""Most rows of each group that are compared."""


@dataclass(frozen=True)
class ReferenceRows:
    """Log-odds of the labels of n rows, in nats.

    Args:
        target: of the judged model, float64 (n,).
        references: of its k reference models, float64 (k, n).
        seen: bool (k, n), whether the row was in that reference's training set.
    """

    target: Floats
    references: Floats
    seen: NDArray[np.bool_]

    @classmethod
    def of(cls, evidence: Evidence) -> ReferenceRows:
        """Return the log-odds of the evidence's rows, or of 4,000 of them drawn by lot.

        Args:
            evidence: outputs and references of one group.

        Raises:
            MissingEvidenceError: without references.
        """
        references = evidence.references
        if references is None:
            raise MissingEvidenceError("references: missing.")
        at = permutation(len(evidence.outputs), 0, "references")[:_MOST]
        outputs = evidence.outputs.take(at)
        target = log_odds(outputs.logits.double(), outputs.labels)
        return cls(
            target.numpy(), references.log_odds[:, at].numpy(), references.seen[:, at].numpy()
        )

    @classmethod
    def together(cls, groups: Pool[ReferenceRows]) -> ReferenceRows:
        """Return the rows of both groups, members first.

        Args:
            groups: rows with the same reference models.
        """
        both = (groups.members, groups.nonmembers)
        return cls(
            np.concatenate([g.target for g in both]),
            np.concatenate([g.references for g in both], axis=1),
            np.concatenate([g.seen for g in both], axis=1),
        )

    def of_models(self, kept: list[int]) -> ReferenceRows:
        """Return the rows with some of the reference models.

        Args:
            kept: numbers of the models.
        """
        return replace(self, references=self.references[kept], seen=self.seen[kept])

    def lifts(self) -> Floats:
        """Return by how much models that saw a row are surer of it than others, float64 (m,).

        The measure is the mean rank of the log-odds within a model, in (0, 1), so that neither
        certain rows nor models that are surer of everything outweigh the others. Only the m rows
        that some references saw and others did not are compared.
        """
        seen, unseen = self.seen.sum(axis=0), (~self.seen).sum(axis=0)
        both = (seen > 0) & (unseen > 0)
        ranks = np.stack([midranks(r) / len(r) for r in self.references])
        first = (ranks * self.seen).sum(axis=0)[both] / seen[both]
        second = (ranks * ~self.seen).sum(axis=0)[both] / unseen[both]
        return np.asarray(first - second)
