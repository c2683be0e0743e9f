"""`transfer`: what the report shows of attacks on the full model with the help of the small one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from safecompress.report.lineage import Node
from safecompress.report.plots.front import Axes, Point, front
from safecompress.report.plots.questions import QueryCurve, questions_panel
from safecompress.report.safe import mapping, mappings, number, numbers, sequence, text
from safecompress.report.view_comparison import Cell
from safecompress.report.view_curves import Reading
from safecompress.report.wording import MISSING, Span, Style, count, figure, interval, with_interval

MOST_MATRICES, MOST_ATTACKERS, MOST_EXAMPLES, MOST_POINTS, MOST_SIGNS = 6, 16, 4, 200, 6
_LONGEST_PICTURE = 200_000
_BASE64 = re.compile(r"iVBORw0KGgo[A-Za-z0-9+/]+={0,2}")
_QUERY_COUNTS = (1, 10, 100, 1_000, 10_000)
_AUC, _RATE = ".auc", ".rate"
_ALIKE: tuple[tuple[str, str, Style], ...] = (
    ("gradients", "mean cosine of input gradients", "plain"),
    ("agreement", "same class", "percent"),
    ("divergence", "Jensen–Shannon divergence, nats", "plain"),
    ("features", "linear CKA of last features", "plain"),
)


@dataclass(frozen=True)
class Example:
    """A row, the point that fooled the full model, and the difference, as PNG files in base64."""

    words: str
    pictures: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Matrix:
    """The rates of one transfer check: a column per attacker, a line per model crafted on.

    Args:
        name: name of the check's measure.
        words: the number of rows, the radius, and whether gradients are masked.
        attackers: heads of the columns.
        lines: for each model that points were crafted on its name, and for each attacker a cell
            and whether it is the strongest.
        examples: rows on which the strongest attacker fooled the full model.
    """

    name: str
    words: str
    attackers: tuple[str, ...]
    lines: tuple[tuple[str, tuple[tuple[Cell, bool], ...]], ...]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Questions:
    """One query check: the picture, its attacks with the CSS class of their line, and figures."""

    name: str
    picture: Markup
    attacks: tuple[tuple[str, str], ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class Transfer:
    """What the report shows of a pair; all fields are empty where there is none."""

    matrices: tuple[Matrix, ...]
    questions: tuple[Questions, ...]
    alike: tuple[tuple[str, str], ...]
    planes: tuple[Markup, ...] = field(default=())

    def __bool__(self) -> bool:
        return bool(self.matrices or self.questions or self.alike or self.planes)


def transfer(
    figures: Mapping[str, Any], verdict: Mapping[str, Any], nodes: Sequence[Node]
) -> Transfer:
    """Return what the report shows of a pair.

    Args:
        figures: the document of figures.json.
        verdict: the document of verdict.json.
        nodes: the candidates of the search; empty for an audit.
    """
    alike = mapping(mapping(verdict.get("against")).get("similarity"))
    return Transfer(
        tuple(_matrix(m) for m in mappings(figures.get("transfer"))[:MOST_MATRICES]),
        tuple(
            panel
            for i, q in enumerate(mappings(figures.get("queries"))[:MOST_MATRICES])
            if (panel := _questions(q, identity=f"questions-{i + 1}")) is not None
        ),
        tuple(
            (label, with_interval(Span.read(alike[key]), style))
            for key, label, style in _ALIKE
            if alike.get(key) is not None
        ),
        _planes(nodes),
    )


def _matrix(source: Mapping[str, Any]) -> Matrix:
    rates = mappings(source.get("rates"))
    names = [text(r.get("attacker"), longest=40) for r in rates]
    attackers = list(dict.fromkeys(names))[:MOST_ATTACKERS]
    sources = list(dict.fromkeys(text(r.get("on"), longest=40) for r in rates))[:MOST_ATTACKERS]
    cells = {
        (text(r.get("on"), longest=40), name): (_cell(r), r.get("strongest") is True)
        for r, name in zip(rates, names, strict=True)
    }
    missing = (Cell(MISSING, ""), False)
    lines = tuple((on, tuple(cells.get((on, a), missing) for a in attackers)) for on in sources)
    unit = text(source.get("unit", "the input range"), longest=80)
    words = (
        f"{count(source.get('rows'))} rows that both models get right, radius "
        f"{figure(number(source.get('radius')), 'plain')} of {unit}. {_white_box_words(source)}"
    )
    masked = source.get("masked") is True
    signs = "; ".join(
        text(sign, longest=120) for sign in sequence(source.get("masks"))[:MOST_SIGNS]
    )
    words += f": gradients are masked, and the rates are lower bounds ({signs})." if masked else "."
    examples = [_example(e) for e in mappings(source.get("examples"))[:MOST_EXAMPLES]]
    valid = tuple(e for e in examples if e is not None)
    return Matrix(text(source.get("measure"), longest=80), words, tuple(attackers), lines, valid)


def _white_box_words(source: Mapping[str, Any]) -> str:
    """Return in words how often the small model itself is fooled, and the rate to compare with."""
    small, full, by_queries = (
        number(source.get(key)) for key in ("white_box", "white_box_full", "questioned")
    )
    if small is None:
        return (
            "The small model gives no gradients: points are found by questions to it, and the "
            "rates are lower bounds"
        )
    words = f"White-box PGD fools the small model itself on {figure(small, 'percent')} of them, "
    if full is None and by_queries is not None:
        return words + f"questions alone on {figure(by_queries, 'percent')}"
    return words + f"the full one on {figure(full, 'percent')}"


def _cell(rate: Mapping[str, Any]) -> Cell:
    span = Span.read(rate)
    return Cell(figure(span.value, "percent"), interval(span, "percent"))


def _example(source: Mapping[str, Any]) -> Example | None:
    """Return an example whose three pictures are PNG files, or None."""
    kinds = ("row", "point", "difference")
    pictures = [source.get(kind) for kind in kinds]
    if not all(
        isinstance(p, str) and len(p) <= _LONGEST_PICTURE and _BASE64.fullmatch(p) for p in pictures
    ):
        return None
    label, answer = (text(source.get(key), longest=40) for key in ("label", "said"))
    words = f"class {label}, taken for {answer}"
    names = (f"a row of class {label}", f"the point taken for {answer}", "their difference")
    return Example(words, tuple(zip(names, map(str, pictures), strict=True)))


def _questions(source: Mapping[str, Any], *, identity: str) -> Questions | None:
    budget = number(source.get("budget"))
    attacks = []
    for entry in mappings(source.get("attacks"))[:MOST_ATTACKERS]:
        rows = number(entry.get("rows"))
        solved = sorted(q for q in numbers(sequence(entry.get("asked"))[:10_000]) if q >= 1)
        if rows is not None and rows >= max(1, len(solved)):
            guided = entry.get("guided") is True
            attacks.append(
                QueryCurve(text(entry.get("name"), longest=40), guided, int(rows), solved)
            )
    if budget is None or budget <= 1 or not attacks:
        return None
    places = [p for p in _QUERY_COUNTS if p < budget] + [budget]
    readings = tuple(
        Reading(count(p), tuple(figure(a.share(p), "percent") for a in attacks)) for p in places
    )
    named = tuple((a.name, "s-compressed" if a.guided else "s-dense") for a in attacks)
    return Questions(
        text(source.get("measure"), longest=80),
        questions_panel(attacks, budget=budget, identity=identity),
        named,
        readings,
    )


def _planes(nodes: Sequence[Node]) -> tuple[Markup, ...]:
    """Return the candidates in the planes of accuracy, membership leakage and transfer.

    Empty where no transfer was measured in the search.
    """
    tested = [n for n in nodes if n.accuracy is not None and not n.discarded][:MOST_POINTS]
    risks = dict.fromkeys(m for n in tested for m in n.measures if m.endswith(_RATE))
    if not risks:
        return ()
    best = undominated([_figures(n, tuple(risks)) for n in tested])
    pictures = [_plane(tested, best, _leak, Axes(joined=False), identity="front-members")]
    for i, risk in enumerate(risks):
        about = Axes(
            title=f"Accuracy against {risk}",
            across=f"{risk}, upper bound",
            leak=risk,
            leak_style="percent",
            chance=None,
            joined=False,
        )
        pictures.append(
            _plane(tested, best, lambda n, r=risk: n.measures.get(r), about, identity=f"front-{i}")
        )
        along = Axes(
            title=f"Similarity against {risk}",
            across="mean cosine of input gradients with the dense model's",
            leak="cosine",
            leak_style="plain",
            up=f"{risk}, upper bound",
            chance=None,
            joined=False,
        )
        points = [
            Point(n.proposal, _span(n.cosine), _span(n.measures.get(risk)), b, _css(n))
            for n, b in zip(tested, best, strict=True)
        ]
        pictures.append(front(points, identity=f"alike-{i}", axes=along))
    return tuple(picture for picture in pictures if picture)


def _plane(
    nodes: Sequence[Node], best: Sequence[bool], leak: Any, axes: Axes, *, identity: str
) -> Markup:
    points = [
        Point(n.proposal, _span(leak(n)), _span(n.accuracy), b, _css(n))
        for n, b in zip(nodes, best, strict=True)
    ]
    return front(points, identity=identity, axes=axes)


def _leak(node: Node) -> float | None:
    """Return the largest AUC of the attacks on a candidate."""
    aucs = [v for m, v in node.measures.items() if m.endswith(_AUC) and v is not None]
    return max(aucs, default=None)


def _figures(node: Node, risks: Sequence[str]) -> tuple[float, ...]:
    """Return the figures that compare candidates, smaller is better; unknown risks are infinite."""
    worst = float("inf")
    risk_figures = [_leak(node), *(node.measures.get(r) for r in risks)]
    return (-(node.accuracy or 0.0), *(worst if v is None else v for v in risk_figures))


def undominated(figures: Sequence[tuple[float, ...]]) -> list[bool]:
    """Return for each point whether no other is at least as good in all figures, better in one.

    Args:
        figures: points with equally many figures each, smaller is better.
    """
    return [
        not any(
            other != point and all(o <= f for o, f in zip(other, point, strict=True))
            for other in figures
        )
        for point in figures
    ]


def _span(value: float | None) -> Span:
    """Return a share or a cosine without an interval; values outside [-1, 1] count as missing."""
    return Span(value if value is not None and abs(value) <= 1 else None, None, None)


def _css(node: Node) -> str:
    return "s-compressed" if node.on_path else "s-other"
