"""Sections of the tests: those that steer, those that judge, and the shadow models they ask."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from safecompress.config.section import Request, Section, Share


class SteerConfig(Section):
    """What happens at every round on the steering rows.

    Args:
        proposals: ways to change a candidate; every one gives a candidate.
        search: `tournament`: each proposal starts a lineage in the first round and is repeated in
            every later one, and each round's tests let the better half of the lineages go on;
            `every-round`: all proposals start from each survivor in every round, as SafeCompress
            (ASE 2022) does.
        draw: how many of the proposals, drawn at random, give candidates: anew in every round, or
            once where it is a tournament; None takes all.
        replay: names of proposals, one a round, as a verdict's `lineage` lists them: the path is
            trained again, nothing is chosen, and rounds after the last name do not happen.
        defenses: changes to training that every candidate carries.
        attacks: attacks run on every candidate.
        calibrated: whether the attack `calibrated` runs, too, where the run trains teachers: they
            are its references, each on rows that it never saw.
        measures: risks besides the attacks, measured of every candidate, smaller is better: for
            example `{transfer: {rows: 200}}`; the objectives `pareto` and `bounded` weigh them.
        objective: how candidates are ranked.
        population: candidates kept for the next round; in a tournament, the fewest kept, so that
            the last round's tests choose among them. None is 2 in a tournament and 1 otherwise.
    """

    proposals: tuple[Request, ...] = (
        "rigl",
        {"student": {"mask": "rigl"}},
        {"soft-labels": {"temperature": 0.1, "mask": {"student": {"mask": "rigl"}}}},
    )
    search: Literal["tournament", "every-round"] = "tournament"
    draw: Annotated[int, Field(ge=1)] | None = None
    replay: tuple[str, ...] | None = None
    defenses: tuple[Request, ...] = ()
    attacks: tuple[Request, ...] = ("loss", "modified-entropy", "neural")
    calibrated: bool = True
    measures: tuple[Request, ...] = ()
    objective: Request = "pareto"
    population: Annotated[int, Field(ge=1)] | None = None

    @property
    def kept(self) -> int:
        """Fewest candidates that go on from a round."""
        return self.population or (2 if self.search == "tournament" else 1)


class CheckConfig(Section):
    """One test of the verdict.

    Args:
        name: unique name in the report; by default made from the measure.
        measure: `accuracy`, `density`, or `{attack: {attack: NAME, metric: auc}}`.
        condition: one of `{at_most: X}`, `{at_least: X}`, `{at_most_dense: X}` (at most the dense
            model's value plus X), `{at_least_dense: X}`.
        critical: whether a failure fails the verdict; otherwise it is a warning.
    """

    measure: Request
    condition: dict[Literal["at_most", "at_least", "at_most_dense", "at_least_dense"], float]
    name: str | None = None
    critical: bool = True

    @model_validator(mode="after")
    def _one_condition(self) -> CheckConfig:
        if len(self.condition) != 1:
            raise ValueError(f"condition needs exactly one entry, got {self.condition}")
        return self


class VerdictConfig(Section):
    """The final judgment on the sealed rows.

    Args:
        checks: the tests; empty means the default suite.
        level: confidence level of the intervals before correction for repeated looks.
    """

    checks: tuple[CheckConfig, ...] = ()
    level: Share = 0.95


class ShadowsConfig(Section):
    """Shadow models: the same recipe on other draws of the rows, so that attacks can compare.

    A shadow model repeats the dense training, the teachers and the path of proposals that the
    search chose, on a random draw of as many members from all rows. With them the verdict asks the
    likelihood-ratio attack and RMIA, too.

    Args:
        count: shadow models; 0 trains none, otherwise at least 4. 16 find most of what 64 find.
        workers: how many are trained at once, each in a process of its own; None is one for every
            core, at most eight, and one on a GPU.
        backend: `local`, or `ray`: the same on a Ray cluster, whose machines share the run folder.
    """

    count: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(gt=0)] | None = None
    backend: Literal["local", "ray"] = "local"

    @field_validator("count")
    @classmethod
    def _enough_of_both(cls, count: int) -> int:
        if 0 < count < 4:
            raise ValueError(
                f"{count} shadow models: a row needs some that saw it and some that did not; "
                "expected at least 4, or 0 for none"
            )
        return count
