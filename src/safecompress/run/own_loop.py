"""`OwnLoop`: what a run folder records of a training that was a loop of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safecompress.errors import DataError, RunFolderError
from safecompress.files import read_json, write_json
from safecompress.run.folder import OWN_LOOP


@dataclass(frozen=True)
class OwnLoop:
    """A training that SafeCompress watched and did not do itself.

    Args:
        by: whose loop it was: `plain PyTorch`, `Hugging Face Trainer` or `Lightning`.
        steps: optimizer steps that the schedule of masks was made for.
        taken: optimizer steps that were taken.
        tests: how often the model was tested on the steering rows.
        members: number of members.
        seen: members that the model was given in training mode exactly as they are.
        augmented: whether the loop changes its inputs, so that it need not see members as they are.
    """

    by: str
    steps: int
    taken: int = 0
    tests: int = 0
    members: int = 0
    seen: int = 0
    augmented: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """What a verdict has to say about such a training."""
        how = f"The model was trained by a loop of its owner's own ({self.by}; {self.taken} steps)."
        alone = (
            "Nothing here can repeat that training, so no shadow models, teachers or baselines "
            "were trained to compare with, and attacks that need them did not run."
        )
        why = ", because the loop changes its inputs," if self.augmented else ""
        seen = (
            f"In training the model was given {self.seen} of the {self.members} members exactly as "
            f"they are{why} and none of the rows held out."
        )
        return (
            f"{how} {alone}",
            f"{seen} That the loop trained on all members, and the weights on nothing else before "
            "or beside it, is its owner's word.",
        )

    def write(self, folder: Path) -> None:
        """Write the record into a run folder.

        Args:
            folder: the run folder.
        """
        write_json(folder / OWN_LOOP, asdict(self))


def own_loop_of(folder: Path) -> OwnLoop | None:
    """Return the record of a run folder; None for a run that SafeCompress trained itself.

    Args:
        folder: the run folder.

    Raises:
        RunFolderError: when the record is damaged.
    """
    file = folder / OWN_LOOP
    if not file.exists():
        return None
    try:
        stored: Any = read_json(file)
        return OwnLoop(**(stored if isinstance(stored, Mapping) else {}))
    except (DataError, TypeError) as error:
        raise RunFolderError(f"{file}: damaged ({error}); put it back.") from error
