"""`rounds_tree`: the tree of candidates by round, with parents and the ones that were selected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from safecompress.report.lineage import Node
from safecompress.report.svg import coordinate, tag
from safecompress.report.wording import figure, style_of

MOST_NODES = 400
_TIP_WIDTH, _TIP_LINE = 290.0, 16.0
_CROWDED = 16


@dataclass(frozen=True)
class Layout:
    """Sizes of the tree.

    Args:
        width: width of a node, in px.
        height: height of a node, in px.
        step_x: distance of neighboring columns of one round, in px.
        step_y: distance of nodes in a column, in px.
        gap: space between rounds, in px.
        rows: most nodes in a column.
    """

    width: float
    height: float
    step_x: float
    step_y: float
    gap: float
    rows: int

    @property
    def labeled(self) -> bool:
        """Whether a node has room for words."""
        return self.width > 60


_ROOMY = Layout(width=172, height=38, step_x=172, step_y=50, gap=56, rows=_CROWDED)
_TIGHT = Layout(width=22, height=16, step_x=28, step_y=21, gap=48, rows=18)


def rounds_tree(nodes: Sequence[Node], *, identity: str) -> Markup:
    """Return the tree, rounds from left to right.

    Every node is a link to its row in the table and shows its figures on hover and focus. These
    tips are the last elements, because later elements cover earlier ones.

    Args:
        nodes: the candidates; at most `MOST_NODES` are drawn.
        identity: id of the picture, unique on the page.
    """
    drawn = list(nodes[:MOST_NODES])
    columns = {r: [n for n in drawn if n.round == r] for r in sorted({n.round for n in drawn})}
    layout = _ROOMY if max(map(len, columns.values()), default=0) <= _CROWDED else _TIGHT
    places, heads, width = _placed(columns, layout)
    tallest = max((min(len(c), layout.rows) for c in columns.values()), default=1)
    height = max(tallest * layout.step_y + 40, 210.0)
    offset = {
        r: (height + 24 - min(len(c), layout.rows) * layout.step_y) / 2 for r, c in columns.items()
    }
    at = {n.index: (places[n.index][0], places[n.index][1] + offset[n.round]) for n in drawn}
    root = (8.0, (height + 24) / 2)
    names = f"{identity}-title {identity}-desc"
    return tag(
        "svg",
        tag("title", "The tree of rounds", id=f"{identity}-title"),
        tag("desc", _description(drawn, len(columns)), id=f"{identity}-desc"),
        *(tag("text", f"round {r}", class_="axis", x=x, y=16) for r, x in heads.items()),
        *(_edge(n, at, root, layout) for n in sorted(drawn, key=_prominence) if _drawn(n, layout)),
        tag("circle", class_="root", cx=root[0] + 6, cy=root[1], r=6),
        tag("text", "start", class_="tick", x=root[0] - 4, y=root[1] + 22),
        *(_box(n, at[n.index], layout) for n in drawn),
        *(_hit(n, at[n.index], layout, (width, height)) for n in drawn),
        id=identity,
        class_="tree",
        role="group",
        aria_labelledby=names,
        viewBox=f"0 0 {coordinate(width)} {coordinate(height)}",
        width=width,
        height=height,
    )


def _placed(
    columns: dict[int, list[Node]], layout: Layout
) -> tuple[dict[int, tuple[float, float]], dict[int, float], float]:
    """Return the place of each node, the head of each round, and the width of the tree.

    Places lack the vertical offset that centers a round.
    """
    places, heads = {}, {}
    left = 20 + layout.gap
    for number, column in columns.items():
        heads[number] = left
        for i, node in enumerate(column):
            x = left + (i // layout.rows) * layout.step_x
            places[node.index] = (x, (i % layout.rows) * layout.step_y)
        wide = -(-len(column) // layout.rows)
        left += wide * layout.step_x + layout.gap
    return places, heads, max(left - layout.gap + layout.width * 0.1 + 8, _TIP_WIDTH + 16)


def _description(nodes: Sequence[Node], rounds: int) -> str:
    path = [n for n in nodes if n.on_path]
    steps = ", then ".join(f"{n.proposal} in round {n.round}" for n in path[:20])
    discarded = sum(n.discarded for n in nodes)
    return (
        f"{len(nodes)} candidates in {rounds} rounds, {discarded} of them discarded. "
        f"The final model came from: {steps or 'the start, unchanged'}."
    )


def _prominence(node: Node) -> int:
    return node.selected + node.on_path


def _drawn(node: Node, layout: Layout) -> bool:
    """Return whether the line to the parent is drawn; in a tight layout only of selected nodes."""
    return layout.labeled or node.selected


def _edge(
    node: Node,
    at: dict[int, tuple[float, float]],
    root: tuple[float, float],
    layout: Layout,
) -> Markup:
    x, y = at[node.index]
    y += layout.height / 2
    if node.parent is not None and node.parent in at:
        px, py = at[node.parent]
        px, py = px + layout.width, py + layout.height / 2
    else:
        px, py = root[0] + 12, root[1]
    middle = (px + x) / 2
    drawn = " ".join(map(coordinate, (px, py)))
    curve = ", ".join(
        f"{coordinate(a)} {coordinate(b)}" for a, b in ((middle, py), (middle, y), (x, y))
    )
    return tag(
        "path",
        d=f"M{drawn}C{curve}",
        class_=f"edge{_state(node)}",
        data_series=_series(node),
    )


def _series(node: Node) -> str | None:
    """Return the entry of the legend that hides the node; None for selected ones, always shown."""
    if node.on_path or node.selected:
        return None
    return "discarded" if node.discarded else "not chosen"


def _state(node: Node) -> str:
    if node.on_path:
        return " on-path"
    if node.selected:
        return " selected"
    return " discarded" if node.discarded else ""


def _box(node: Node, place: tuple[float, float], layout: Layout) -> Markup:
    x, y = place
    w, h = layout.width, layout.height
    parts = [tag("rect", x=x, y=y, width=w, height=h, rx=5)]
    if layout.labeled:
        parts.append(tag("text", _cut(node.proposal, 20), class_="name", x=x + 8, y=y + 16))
        parts.append(tag("text", _short_figures(node), class_="figures", x=x + 8, y=y + 30))
    if node.discarded:
        parts.append(tag("path", d=_cross(x, y, w, h), class_="cross"))
    elif node.selected:
        tick_x, tick_y = (x + w - 18, y + 20) if layout.labeled else (x + 5, y + 3)
        drawn = f"M{coordinate(tick_x)} {coordinate(tick_y + 5)}l4 4 7 -8"
        parts.append(tag("path", d=drawn, class_="check"))
    return tag(
        "g", *parts, class_=f"box{_state(node)}", data_series=_series(node), aria_hidden="true"
    )


def _cross(x: float, y: float, w: float, h: float) -> str:
    a, b, c, d = map(coordinate, (x, y, x + w, y + h))
    return f"M{a} {b}L{c} {d}M{a} {d}L{c} {b}"


def _short_figures(node: Node) -> str:
    if node.discarded:
        return "discarded"
    first = next((v for k, v in node.measures.items() if style_of(k) == "auc"), None)
    return f"{figure(node.accuracy, 'percent')} · {figure(first, 'auc')}"


def _cut(words: str, longest: int) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "…"


def _tip_lines(node: Node) -> list[str]:
    """Return the lines of text that are shown on hover and focus."""
    fate = "discarded" if node.discarded else "selected" if node.selected else "not selected"
    rank = "" if node.rank is None else f", rank {node.rank:.0f}"
    lines = [f"{node.proposal} ({node.name})", f"round {node.round}, {fate}{rank}"]
    lines.append(f"accuracy {figure(node.accuracy, 'percent')}")
    lines += [f"{k} {figure(v, style_of(k))}" for k, v in list(node.measures.items())[:4]]
    reason, room = node.reason, 46
    while reason and len(lines) < 10:
        cut = len(reason) if len(reason) <= room else (reason.rfind(" ", 1, room) + 1 or room)
        lines.append(reason[:cut].strip())
        reason = reason[cut:]
    return [_cut(line, room) for line in lines]


def _hit(
    node: Node, place: tuple[float, float], layout: Layout, size: tuple[float, float]
) -> Markup:
    x, y = place
    lines = _tip_lines(node)
    tall = len(lines) * _TIP_LINE + 14
    tip_x = min(max(x, 4.0), size[0] - _TIP_WIDTH - 4)
    below, above = y + layout.height + 6, y - tall - 6
    tip_y = below if below + tall < size[1] else max(above, 2.0)
    words = [
        tag(
            "text",
            line,
            class_="tip-head" if i == 0 else "tip-line",
            x=tip_x + 10,
            y=tip_y + 8 + (i + 0.75) * _TIP_LINE,
        )
        for i, line in enumerate(lines)
    ]
    return tag(
        "a",
        tag("rect", class_="hit", x=x, y=y, width=layout.width, height=layout.height, rx=5),
        tag(
            "g",
            tag("rect", x=tip_x, y=tip_y, width=_TIP_WIDTH, height=tall, rx=6),
            *words,
            class_="tip",
            aria_hidden="true",
        ),
        href=f"#candidate-{node.index + 1}",
        data_series=_series(node),
        aria_label="; ".join(lines),
    )
