"""`Curve` and `roc_panel`: ROC curves on log-log axes, which show low false-positive rates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from safecompress.report.plots.subjects import css_class
from safecompress.report.svg import Scale, decades, path, picture, tag
from safecompress.report.wording import figure

_SIZE, _LEFT, _BOTTOM, _TOP, _RIGHT = 300.0, 52.0, 44.0, 10.0, 20.0
# The page shows the figures at the pointer, which do not differ for points closer than this (px).
_READABLE = 0.1


@dataclass(frozen=True)
class Curve:
    """One model's ROC curve.

    Args:
        fpr: false-positive rates in [0, 1], rising.
        tpr: true-positive rates in [0, 1], one for each of `fpr`.
        auc: the recorded AUC; None where it is missing.
    """

    fpr: Sequence[float]
    tpr: Sequence[float]
    auc: float | None

    def found_at(self, rate: float) -> float:
        """Return the largest recorded TPR whose FPR is at most `rate`.

        Args:
            rate: the false-positive rate, in [0, 1].
        """
        pairs = zip(self.fpr, self.tpr, strict=False)
        return max((tpr for fpr, tpr in pairs if fpr <= rate), default=0.0)


def floor_of(n_nonmembers: float | None) -> float:
    """Return the lowest rate drawn: 1e-3, or 1/n where n non-members cannot show less.

    Args:
        n_nonmembers: number of non-members; None where it is not known.

    >>> floor_of(100), floor_of(None)
    (0.01, 0.001)
    """
    return min(max(1e-3, 1 / n_nonmembers), 0.1) if n_nonmembers and n_nonmembers >= 1 else 1e-3


def roc_panel(curves: Mapping[str, Curve], *, attack: str, floor: float, identity: str) -> Markup:
    """Return one attack's panel.

    Args:
        curves: the curves by model, in the order in which they are drawn.
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
    areas = ", ".join(f"{name} AUC {figure(curve.auc, 'auc')}" for name, curve in curves.items())
    return picture(
        *_grid(x, y, floor),
        path([(x(floor), y(floor)), (x(1), y(1))], class_="chance"),
        tag("text", "guessing", class_="note", **_along_chance(x, y)),
        *lines,
        identity=identity,
        width=_SIZE,
        height=_SIZE,
        title=f"ROC of the attack {attack}",
        description=f"True-positive rate against false-positive rate, both logarithmic. {areas}.",
        data_x=x.words,
        data_y=y.words,
        data_reads="rates",
        data_unit="FPR",
    )


def _visible(curve: Curve, floor: float) -> Iterator[tuple[float, float]]:
    """Yield the points of the curve from the floor on; the first has its height at the floor."""
    height = 0.0
    started = False
    for fpr, tpr in zip(curve.fpr, curve.tpr, strict=False):
        if fpr <= floor:
            height = max(height, tpr)
            continue
        if not started:
            started = True
            yield floor, height
        yield fpr, tpr
    if not started:
        yield floor, height


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
