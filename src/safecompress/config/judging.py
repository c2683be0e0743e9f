"""`SteerConfig`, `VerdictConfig`, `CanariesConfig`, `ShadowsConfig`: what tests, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from safecompress.config.section import Request, Section, Share
from safecompress.config.standards import STANDARD_HELP, StandardName

MARGIN = 0.02
"""AUC that a model may by default leak more than the dense one."""

Preset = Literal["accurate", "balanced", "private"]
PRESETS: Mapping[Preset, Request] = {
    "accurate": {"margin": {"first": "worth", "enough": 0.0, "loss": 0.0}},
    "balanced": "margin",
    "private": {"margin": {"first": "leaks"}},
}
"""By the name of a preset the objective that it stands for."""


class SteerConfig(Section):
    """What happens at every round on the steering rows."""

    proposals: tuple[Request, ...] = Field(
        default=(
            "rigl",
            {"student": {"mask": "rigl"}},
            {"soft-labels": {"temperature": 0.1, "mask": {"student": {"mask": "rigl"}}}},
        ),
        description="Ways to change a candidate (`safecompress list proposals`); every one gives a "
        "candidate. List proposals of masks alone, such as `[rigl, set]`, to do without teachers.",
    )
    search: Literal["tournament", "every-round"] = Field(
        default="tournament",
        description="Which candidates meet. In a `tournament` each proposal starts a lineage in "
        "the first round and is repeated in every later one, and each round's tests let the "
        "better half of the lineages go on. With `every-round` all proposals start from each "
        "survivor in every round, as SafeCompress (ASE 2022) does.",
    )
    draw: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="How many of the proposals, drawn at random, give candidates: anew in every "
        "round, or once in a tournament. Left out, all do; 1 is the random path that a selection "
        "has to beat.",
    )
    replay: tuple[str, ...] | None = Field(
        default=None,
        description="Names of proposals, one a round, as a verdict's `lineage` lists them: that "
        "path is trained again, nothing is chosen, and rounds after the last name do not happen. "
        "Left out, the tests choose.",
    )
    defenses: tuple[Request, ...] = Field(
        default=(),
        description="Changes to training that hide members, carried by every candidate "
        "(`safecompress list defenses`). Empty trains without any.",
    )
    attacks: tuple[Request, ...] = Field(
        default=("loss", "modified-entropy", "neural"),
        description="Membership attacks run on every candidate (`safecompress list attacks`). The "
        "strongest counts; attacks that look inside the model take two to four times as long.",
    )
    calibrated: bool = Field(
        default=True,
        description="Whether the attack `calibrated` also runs where the run trains teachers, "
        "which are its references for rows that they never saw. False saves asking them.",
    )
    measures: tuple[Request, ...] = Field(
        default=(),
        description="Risks besides the attacks, measured of every candidate, smaller being better: "
        "for example `{transfer: {rows: 200}}`. The objectives `pareto` and `bounded` weigh them.",
    )
    worth: Literal["accuracy", "balanced-accuracy", "macro-f1"] = Field(
        default="accuracy",
        description="What counts as a candidate's accuracy where the objective ranks it. "
        "`balanced-accuracy` and `macro-f1` give every class the same weight: take one where a "
        "rare class matters.",
    )
    objective: Request = Field(
        default="pareto",
        description="How candidates are ranked (`safecompress list objectives`). `pareto` takes "
        "the largest accuracy × (1 − AUC of the strongest attack); `{bounded: {tolerance: 0.01}}` "
        "keeps accuracy first; `margin` ranks by the verdict's own limits, as the presets do.",
    )
    population: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Candidates kept for the next round; in a tournament the fewest kept, among "
        "which the last round's tests choose. Left out, it is 2 in a tournament and 1 otherwise.",
    )

    @property
    def kept(self) -> int:
        """Fewest candidates that a round keeps for the next one."""
        return self.population or (2 if self.search == "tournament" else 1)


class CheckConfig(Section):
    """One test of the verdict."""

    measure: Request = Field(
        description="What is measured on the sealed rows (`safecompress list measures`): for "
        "example `accuracy`, `density`, or `{attack: {attack: loss, metric: auc}}`."
    )
    condition: dict[Literal["at_most", "at_least", "at_most_dense", "at_least_dense"], float] = (
        Field(
            description="The limit, exactly one entry: `{at_most: X}`, `{at_least: X}`, "
            "`{at_most_dense: X}` (at most the dense model's value plus X) or "
            "`{at_least_dense: X}`, X in the measure's unit."
        )
    )
    name: str | None = Field(
        default=None,
        description="Name of the check in the report, different from all others. Left out, it is "
        "made from the measure.",
    )
    critical: bool = Field(
        default=True,
        description="Whether a failure of this check fails the verdict. False only warns.",
    )

    @model_validator(mode="after")
    def _one_condition(self) -> CheckConfig:
        if len(self.condition) != 1:
            raise ValueError(f"condition needs exactly one entry, got {self.condition}")
        return self


class CanariesConfig(Section):
    """Canaries: rows that a recorded coin flip each puts into the training, or leaves out.

    After the run an attacker guesses the coins from the model. How many guesses are right bounds
    from below the ε of every differential privacy guarantee that the training could have.
    """

    count: int = Field(
        default=0,
        ge=0,
        description="Number of canaries, taken from the non-members that steer: at least 10, or 0 "
        "for none. About half are trained on and no canary judges anything else. Of 100 that are "
        "all guessed right follows ε > 3; more canaries show more, and cost some accuracy.",
    )
    kind: Literal["mislabeled", "natural"] = Field(
        default="mislabeled",
        description="Which labels canaries have. `mislabeled` ones have a wrong label drawn at "
        "random, which a model can only know by heart; they show most. `natural` ones keep their "
        "label and cost no accuracy.",
    )

    @field_validator("count")
    @classmethod
    def _enough(cls, count: int) -> int:
        if 0 < count < 10:
            raise ValueError(
                f"{count} canaries cannot show an ε above 0.7 whatever the training does; "
                "expected at least 10, or 0 for none"
            )
        return count


class VerdictConfig(Section):
    """The final judgment on the sealed rows."""

    checks: tuple[CheckConfig, ...] = Field(
        default=(),
        description="The tests of the verdict. Empty is the default suite: density, accuracy "
        "against the dense model over all rows and by class, the attacks' AUC against 0.60 over "
        "all rows and within each class, and against the dense model, and the members found at "
        "1 % and 0.1 % false positives.",
    )
    standard: StandardName | None = Field(
        default=None,
        description=f"{STANDARD_HELP} It is about the default suite and takes no `checks`.",
    )
    group_by: tuple[str, ...] = Field(
        default=(),
        description="Columns of a table, such as `region`, within whose groups the default suite "
        "judges the leak, too; a column that is dropped may be named. Classes are always judged. "
        "Checks of your own name theirs: `{group: {by: region}}`.",
    )
    dense_accuracy: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Accuracy that given weights have on rows they were not trained on, as you "
        "know it. The steering non-members must bear it out before training, which shows that the "
        "weights got the inputs they know. Left out, weights that a simple classifier beats by far "
        "are refused.",
    )
    margin: float = Field(
        default=MARGIN,
        ge=0,
        le=0.5,
        description="AUC that the model may leak more than the dense one in the default suite. "
        "With 0 a model that leaks just as little can never be shown to.",
    )
    level: Share = Field(
        default=0.95,
        description="Confidence level of the intervals, before it is corrected for repeated looks "
        "at the sealed rows. Raise it for fewer false alarms and more inconclusive verdicts.",
    )
    canaries: CanariesConfig = Field(
        default=CanariesConfig(),
        description="Rows that coin flips, recorded before any training, put into it or leave out. "
        "They give a lower bound of the ε of differential privacy.",
    )

    @model_validator(mode="after")
    def _one_suite(self) -> VerdictConfig:
        if self.standard is not None and self.checks:
            raise ValueError(
                f"standard '{self.standard}' sets limits of the default suite, which checks replace"
                "; give one of them"
            )
        return self


class ShadowsConfig(Section):
    """Shadow models: the same recipe on other draws of the rows, so that attacks can compare.

    A shadow model repeats the dense training, the teachers and the path of proposals that the
    search chose, on a random draw of as many members from all rows. With them the verdict asks the
    likelihood-ratio attack and RMIA, too.
    """

    count: int = Field(
        default=0,
        ge=0,
        description="Number of shadow models: at least 4, or 0 for none. Each costs about one "
        "compression without its search; 16 find most of what 64 find.",
    )
    workers: Annotated[int, Field(gt=0)] | None = Field(
        default=None,
        description="How many processes train shadow models; small models of a process are "
        "trained side by side. Left out, it is one for every core, at most eight, and one on a "
        "GPU; lower it where memory runs out. On Ray it is the most tasks at once; left out, there "
        "are as many as the cluster has room for.",
    )
    backend: Literal["local", "ray"] = Field(
        default="local",
        description="Where shadow models are trained: in processes of this machine (`local`), or "
        "on a Ray cluster whose machines share the run folder (`ray`, an extra).",
    )

    @field_validator("count")
    @classmethod
    def _enough_of_both(cls, count: int) -> int:
        if 0 < count < 4:
            raise ValueError(
                f"{count} shadow models: a row needs some that saw it and some that did not; "
                "expected at least 4, or 0 for none"
            )
        return count
