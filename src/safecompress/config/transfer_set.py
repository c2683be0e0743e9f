"""`TransferSetConfig`: rows beside the members on which candidates learn from teachers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from safecompress.config.section import Section


class TransferSetConfig(Section):
    """Rows that teachers label and candidates train on beside the members.

    A crossover mixes two members that the same teachers never saw, and only these label it. So it
    carries no label of its parents, and a student learns what teachers know between the members
    instead of what they say of each.
    """

    crossovers: int = Field(
        default=4,
        ge=0,
        description="Crossovers made for each member, which is one parent of all of them; the "
        "other is drawn from its fold. Features of tables and texts come from either parent with "
        "equal chances; of images, the second parent fills a box. They are held in memory.",
    )
    reference: bool = Field(
        default=False,
        description="Whether the reference rows (`data.split.reference`) take part, labeled by the "
        "mean of all teachers, none of which saw them; their own labels are not used.",
    )
    share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        default=0.5,
        description="Probability with which a place in a batch of the student or of a candidate "
        "goes to one of these rows instead of a member. Steps stay as many. 1 never shows a "
        "member itself.",
    )

    @model_validator(mode="after")
    def _some_rows(self) -> TransferSetConfig:
        if not self.crossovers and not self.reference:
            raise ValueError(
                "0 crossovers and no reference rows leave the set empty; ask for one or the other"
            )
        return self
