"""`QueryCurve` and `questions_panel`: the share of rows solved within a number of queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from safecompress.report.svg import Scale, decades, path, picture, round_ticks, tag
from safecompress.report.wording import count, figure

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 420.0, 260.0, 50.0, 44.0, 10.0, 12.0


@dataclass(frozen=True)
class QueryCurve:
    """One attack.

    Args:
        name: name of the attack.
        guided: whether the attacker has the small model.
        rows: number of attacked rows, at least 1.
        solved: numbers of queries after which rows were solved, rising, each at least 1.
    """

    name: str
    guided: bool
    rows: int
    solved: Sequence[float]

    def share(self, questions: float) -> float:
        """Return the share of rows solved within a number of queries, in [0, 1].

        Args:
            questions: the number of queries, at least 1.
        """
        return sum(1 for needed in self.solved if needed <= questions) / self.rows


def questions_panel(attacks: Sequence[QueryCurve], *, budget: float, identity: str) -> Markup:
    """Return the picture: share of rows solved against the number of queries, on a log axis.

    Args:
        attacks: the attacks, at least one.
        budget: most queries for one row, above 1.
        identity: id of the picture, unique on the page.
    """
    x = Scale(1.0, budget, _LEFT, _WIDTH - _RIGHT, logarithmic=True)
    y = Scale(0.0, 1.0, _HEIGHT - _BOTTOM, _TOP)
    lines = [
        path(_steps(a, x, y), class_=f"curve {'s-compressed' if a.guided else 's-dense'}")
        for a in attacks
    ]
    ends = ", ".join(
        f"{a.name} {figure(a.share(budget), 'percent')} of {a.rows} rows" for a in attacks
    )
    return picture(
        *_grid(x, y),
        *lines,
        identity=identity,
        width=_WIDTH,
        height=_HEIGHT,
        title="Rows solved by questions asked",
        description=f"Share of rows solved within {count(budget)} questions: {ends}.",
        class_="plot",
    )


def _steps(attack: QueryCurve, x: Scale, y: Scale) -> Iterator[tuple[float, float]]:
    yield x.start, y(0)
    solved = 0
    for asked, group in groupby(attack.solved):
        yield x(asked), y(solved / attack.rows)
        solved += sum(1 for _ in group)
        yield x(asked), y(solved / attack.rows)
    yield x.stop, y(solved / attack.rows)


def _grid(x: Scale, y: Scale) -> list[Markup]:
    parts = []
    for value in decades(x.low, x.high):
        parts.append(tag("line", class_="grid", x1=x(value), x2=x(value), y1=y.start, y2=y.stop))
        parts.append(
            tag(
                "text", count(value), class_="tick", x=x(value), y=y.start + 15,
                text_anchor="middle",
            )
        )  # fmt: skip
    for value in round_ticks(0.0, 1.0):
        label = f"{100 * value:.0f}%"
        parts.append(tag("line", class_="grid", x1=x.start, x2=x.stop, y1=y(value), y2=y(value)))
        parts.append(
            tag("text", label, class_="tick", x=x.start - 6, y=y(value) + 4, text_anchor="end")
        )
    middle = (x.start + x.stop) / 2
    label = "questions about a row"
    return [
        *parts,
        tag("text", label, class_="axis", x=middle, y=_HEIGHT - 8, text_anchor="middle"),
    ]
