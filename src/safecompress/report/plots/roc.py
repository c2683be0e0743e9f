"""ROC curves on log-log axes: what an attacker gets who may accuse only few innocents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from safecompress.report.plots.subjects import css_class
from safecompress.report.svg import Scale, decades, path, picture, tag
from safecompress.report.wording import figure

_SIZE, _LEFT, _BOTTOM, _TOP, _RIGHT = 300.0, 52.0, 44.0, 10.0, 20.0
# Closer together than this no two points differ in what can be read at a pointer.
_READABLE = 0.1


@dataclass(frozen=True)
class Curve:
    """One model's curve: rates in [0, 1], FPR rising; its AUC as stated, or None."""

    fpr: Sequence[float]
    tpr: Sequence[float]
    auc: float | None

    def found_at(self, rate: float) -> float:
        """Return the largest recorded TPR whose FPR is at most `rate`."""
        pairs = zip(self.fpr, self.tpr, strict=False)
        return max((tpr for fpr, tpr in pairs if fpr <= rate), default=0.0)


def floor_of(n_nonmembers: float | None) -> float:
    """Return the lowest rate drawn: 1e-3, or 1/n where n non-members cannot show less.

    >>> floor_of(100), floor_of(None)
    (0.01, 0.001)
    """
    return min(max(1e-3, 1 / n_nonmembers), 0.1) if n_nonmembers and n_nonmembers >= 1 else 1e-3


def roc_panel(curves: Mapping[str, Curve], *, attack: str, floor: float, identity: str) -> Markup:
    """Return one attack's panel.

    Args:
        curves: by model, in the order drawn.
        attack: the attack's name.
        floor: lowest rate on both axes.
        identity: id of the picture, unique on the page.
    """
    x = Scale(floor, 1.0, _LEFT, _SIZE - _RIGHT, logarithmic=True)
    y = Scale(floor, 1.0, _SIZE - _BOTTOM, _TOP, logarithmic=True)
    lines = [
        path(
            ((x(a), y(b)) for a, b in _visible(curve, floor)),
            apart=_READABLE,
            class_=f"curve {css_class(name)}",
            data_series=name,
        )
        for name, curve in curves.items()
    ]
    told = ", ".join(f"{name} AUC {figure(curve.auc, 'auc')}" for name, curve in curves.items())
    return picture(
        *_grid(x, y, floor),
        path([(x(floor), y(floor)), (x(1), y(1))], class_="chance"),
        tag("text", "guessing", class_="note", **_along_chance(x, y)),
        *lines,
        identity=identity,
        width=_SIZE,
        height=_SIZE,
        title=f"ROC of the attack {attack}",
        description=f"True-positive rate against false-positive rate, both logarithmic. {told}.",
        data_x=x.words,
        data_y=y.words,
        data_reads="rates",
        data_unit="FPR",
    )


def _visible(curve: Curve, floor: float) -> Iterator[tuple[float, float]]:
    """Yield the curve from the floor on, entering at the height it has there."""
    entered = 0.0
    started = False
    for fpr, tpr in zip(curve.fpr, curve.tpr, strict=False):
        if fpr <= floor:
            entered = max(entered, tpr)
            continue
        if not started:
            started = True
            yield floor, entered
        yield fpr, tpr
    if not started:
        yield floor, entered


def _along_chance(x: Scale, y: Scale) -> dict[str, str | float]:
    middle = (x.low * x.high) ** 0.25 * x.low**0.5
    px, py = x(middle), y(middle)
    return {"x": px + 5, "y": py + 12}


def _grid(x: Scale, y: Scale, floor: float) -> list[Markup]:
    parts = []
    ticks = decades(floor, 1.0)
    if ticks[0] > floor * 2:
        ticks = [floor, *ticks]
    for tick in ticks:
        px, py = x(tick), y(tick)
        label = figure(tick, "percent").replace(".0%", "%")
        parts += [
            tag("line", class_="grid", x1=px, x2=px, y1=y.start, y2=y.stop),
            tag("line", class_="grid", x1=x.start, x2=x.stop, y1=py, y2=py),
            tag("text", label, class_="tick", x=px, y=y.start + 15, text_anchor="middle"),
            tag("text", label, class_="tick", x=x.start - 6, y=py + 4, text_anchor="end"),
        ]
    center_x, center_y = (x.start + x.stop) / 2, (y.start + y.stop) / 2
    return [
        *parts,
        tag(
            "text",
            "false-positive rate",
            class_="axis",
            x=center_x,
            y=_SIZE - 8,
            text_anchor="middle",
        ),
        tag(
            "text",
            "true-positive rate",
            class_="axis",
            text_anchor="middle",
            transform=f"translate(12 {center_y:.1f}) rotate(-90)",
        ),
    ]
