"""`LearntSetAttack`: what a member's whole answers look like in all files of a published set.

Where the same reference models are known in every file's format, each of them in turn stands in
for the set: its answers in all files are read as `LearntReferencesAttack` reads those in one. So
nothing is learned from the membership of a judged row, and all rows can be judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from safecompress.attacks.learnt import Learnt, LearntAttack, side_by_side
from safecompress.attacks.registry import ATTACKS
from safecompress.attacks.stand_ins import Read, Sizes, of_target
from safecompress.attacks.whole_answers import INSIDE, OUTSIDE, OWN
from safecompress.errors import MissingEvidenceError
from safecompress.protocols import Evidence, Outputs, References


@dataclass(frozen=True)
class LearntSetAttack(LearntAttack):
    """Learns on the references, each of them in every file of the set, as if it were the target.

    The regression has the numbers of `whole_answers` of every file and their means over the files,
    all products of two means, and the products of the same number in two files, in which
    differences of files show. Products of different numbers in different files are left out, for
    there would be too many.

    Shadow models as labeled examples are of Shokri et al., S&P 2017.
    """

    name: ClassVar[str] = "learnt-set"
    signals: ClassVar[str] = "versions"
    requires: ClassVar[frozenset[str]] = frozenset({"references", "family"})
    knowledge: ClassVar[str] = "shadow"

    def survey(self, references: References) -> Learnt:
        """Return what the references, each in every file, tell about members and non-members.

        Args:
            references: answers of k models on all rows, at least 3 models, in the first file and
                `beside` it in the others.

        Raises:
            MissingEvidenceError: when the references' logits are not known in every file.
            UndecidableError: when too few rows have been seen by some references and not by others.
        """
        files = self._files(references)
        numbers = _numbers_of(files[0])
        return self._learnt_on_stand_ins(files, _products(numbers, len(files)))

    def score(self, fitted: Learnt, evidence: Evidence) -> Tensor:
        """Return the mean log-odds of "member" over the draws, float64 (n,).

        Args:
            fitted: what was learned.
            evidence: outputs and references of every file on n rows.

        Raises:
            MissingEvidenceError: when the references' logits are not known in every file.
        """
        files = self._files(cast(References, evidence.references))
        outputs = (evidence.outputs, *cast("tuple[Outputs, ...]", evidence.family))
        if len(outputs) != len(files):
            raise MissingEvidenceError(
                f"{self.name}: {len(outputs)} files, and references in {len(files)} of them; "
                "expected the references in every file."
            )
        found = side_by_side(
            [
                of_target(read, said, fitted.sizes, seed=fitted.seed, draws=self.draws)
                for read, said in zip(files, outputs, strict=True)
            ]
        )
        scores = torch.stack([fitted.regression(of_draw) for of_draw in found]).mean(dim=0)
        return torch.where(files[0].references.seen.all(dim=0), fitted.silent, scores)

    def _files(self, references: References) -> list[Read]:
        """Return the references in every file; rows are compared with the same ones in each."""
        first = Read.of(references, attack=self.name)
        others = (Read.of(other, attack=self.name) for other in references.beside)
        files = [first, *(read._replace(keys=first.keys) for read in others)]
        if len(files) == 1:
            raise MissingEvidenceError(
                f"{self.name}: what the references say is known in one file; expected the same "
                "references in every file of the set."
            )
        return files


def _numbers_of(read: Read) -> int:
    """Return how many numbers `whole_answers` has of one file."""
    sizes = Sizes.of(read.references.seen)
    return OWN + OUTSIDE + (INSIDE if sizes.inside else 0)


def _products(numbers: int, files: int) -> Tensor:
    """Return which products the regression has: of means, and of a number in two files."""
    of_means = torch.triu_indices(numbers, numbers) + numbers * files
    same = torch.arange(numbers)
    across = [
        torch.stack([same + numbers * a, same + numbers * b])
        for a in range(files)
        for b in range(a, files)
    ]
    return torch.cat([of_means, *across], dim=1)


ATTACKS.add(
    "learnt-set",
    LearntSetAttack,
    summary="learns on references what a member's answers look like in all files of a set",
    reference="after Shokri et al., S&P 2017",
    cost="about 2 s for 16 references × 10,000 rows × 3 files on one core, once they are trained",
)
