"""`roc_panels`, `loss_panels`, `layer_rows`, `cost_rows`: what the report shows of figures.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from safecompress.report.plots.bars import bar
from safecompress.report.plots.losses import Histogram, loss_panel
from safecompress.report.plots.roc import Curve, floor_of, roc_panel
from safecompress.report.plots.subjects import css_class, ordered
from safecompress.report.safe import mapping, mappings, number, numbers, sequence, text
from safecompress.report.wording import MISSING, Value, count, figure, seconds

MOST_PANELS, MOST_LAYERS, MOST_COSTS, MOST_BINS, _MOST_SUBJECTS = 24, 400, 300, 100, 8
_RATES = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5)


@dataclass(frozen=True)
class Reading:
    """A line of the table behind a plot: a place on the horizontal axis, and the figures there."""

    place: str
    figures: tuple[str, ...]


@dataclass(frozen=True)
class RocPanel:
    """One attack: its picture, per model (name, class of its mark, AUC), and figures."""

    attack: str
    picture: Markup
    areas: tuple[tuple[str, str, str], ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class LossPanel:
    """One model's histograms; `readings` has a line per bin."""

    subject: str
    css: str
    unit: str
    picture: Markup
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class LayerRow:
    """One layer's weights."""

    name: str
    shape: str
    total: str
    nonzeros: Value
    density: Value
    coverage: Value
    bar: Markup


@dataclass(frozen=True)
class CostRow:
    """The time of one test or stage."""

    name: str
    stage: str
    seconds: Value
    bar: Markup


def roc_panels(figures: Mapping[str, Any], verdict: Mapping[str, Any]) -> tuple[RocPanel, ...]:
    """Return one panel per attack, with the curves of all models.

    Args:
        figures: the document of figures.json.
        verdict: the document of verdict.json.
    """
    by_subject = {
        text(name, longest=40): mapping(attacks)
        for name, attacks in mapping(figures.get("roc")).items()
    }
    subjects = ordered(by_subject)[:_MOST_SUBJECTS]
    attacks = dict.fromkeys(a for name in subjects for a in by_subject[name])
    floor = floor_of(number(mapping(verdict.get("power")).get("n_nonmembers")))
    panels = []
    for index, attack in enumerate(list(attacks)[:MOST_PANELS]):
        curves = {n: _curve(by_subject[n][attack]) for n in subjects if attack in by_subject[n]}
        drawn = {name: curve for name, curve in curves.items() if curve.fpr and curve.tpr}
        if not drawn:
            continue
        label = text(attack, longest=80)
        picture = roc_panel(drawn, attack=label, floor=floor, identity=f"roc-{index + 1}")
        areas = tuple((n, css_class(n), figure(c.auc, "auc")) for n, c in drawn.items())
        panels.append(RocPanel(label, picture, areas, _rates(drawn.values(), floor)))
    return tuple(panels)


def _rates(curves: Iterable[Curve], floor: float) -> tuple[Reading, ...]:
    """Return the true-positive rates of all curves at some false-positive rates."""
    all_curves = list(curves)
    rates = [floor, *(rate for rate in _RATES if rate > floor)]
    return tuple(
        Reading(
            figure(rate, "percent"),
            tuple(figure(curve.found_at(rate), "percent") for curve in all_curves),
        )
        for rate in rates
    )


def _curve(source: object) -> Curve:
    fields = mapping(source)
    return Curve(
        numbers(sequence(fields.get("fpr"))[:20_000]),
        numbers(sequence(fields.get("tpr"))[:20_000]),
        number(fields.get("auc")),
    )


def loss_panels(figures: Mapping[str, Any]) -> tuple[LossPanel, ...]:
    """Return one panel per model, all on the same axes.

    Args:
        figures: the document of figures.json.
    """
    sources = {text(n, longest=40): mapping(h) for n, h in mapping(figures.get("loss")).items()}
    readable: dict[str, Histogram] = {}
    for name in ordered(sources)[:_MOST_SUBJECTS]:
        parts = (numbers(sequence(sources[name].get(k))[:2000]) for k in _HISTOGRAM)
        histogram = Histogram.read(*parts)
        if histogram is not None:
            readable[name] = histogram
    if not readable:
        return ()
    domain = (
        min(h.edges[0] for h in readable.values()),
        max(h.edges[-1] for h in readable.values()),
    )
    top = max(h.top for h in readable.values()) * 1.05 or 1.0
    panels = []
    for index, (name, histogram) in enumerate(readable.items()):
        unit = text(sources[name].get("unit"), longest=60) or "loss"
        picture = loss_panel(
            histogram,
            subject=name,
            domain=domain,
            top=top,
            unit=unit,
            identity=f"loss-{index + 1}",
        )
        panels.append(LossPanel(name, css_class(name), unit, picture, _bins(histogram)))
    return tuple(panels)


def _bins(histogram: Histogram) -> tuple[Reading, ...]:
    """Return the shares of both groups in each bin; the first `MOST_BINS` bins."""
    edges = [_edge(edge) for edge in histogram.edges[: MOST_BINS + 1]]
    return tuple(
        Reading(f"{low} to {high}", (figure(members, "percent"), figure(nonmembers, "percent")))
        for (low, high), members, nonmembers in zip(
            pairwise(edges), histogram.members, histogram.nonmembers, strict=False
        )
    )


def _edge(value: float) -> str:
    written = f"{value:.2f}" if abs(value) < 1e4 else f"{value:.3g}"
    return written.replace("-", "−")


_HISTOGRAM = ("edges", "members", "nonmembers")


def layer_rows(figures: Mapping[str, Any]) -> tuple[LayerRow, ...]:
    """Return the rows of the table of layers.

    Args:
        figures: the document of figures.json.
    """
    rows = []
    for layer in mappings(figures.get("layers"))[:MOST_LAYERS]:
        density, coverage = number(layer.get("density")), number(layer.get("coverage"))
        shape = " × ".join(count(side) for side in sequence(layer.get("shape"))[:8])
        rows.append(
            LayerRow(
                name=text(layer.get("name"), longest=120) or MISSING,
                shape=shape or MISSING,
                total=count(layer.get("total")),
                nonzeros=Value.of(number(layer.get("nonzeros")), count(layer.get("nonzeros"))),
                density=Value.of(density, figure(density, "percent")),
                coverage=Value.of(coverage, figure(coverage, "percent")),
                bar=bar(density, reached=coverage),
            )
        )
    return tuple(rows)


def cost_rows(figures: Mapping[str, Any], provenance: Mapping[str, Any]) -> tuple[CostRow, ...]:
    """Return the times of all tests, then of the run's stages, with bars on a scale for each.

    Args:
        figures: the document of figures.json.
        provenance: the document of provenance.json.
    """
    tests = [
        (
            text(c.get("name"), longest=160) or MISSING,
            text(c.get("stage"), longest=60),
            c.get("seconds"),
        )
        for c in mappings(figures.get("costs"))[:MOST_COSTS]
    ]
    stages = [
        (text(name, longest=160), "whole stage", value)
        for name, value in list(mapping(provenance.get("seconds")).items())[:40]
    ]
    rows: list[CostRow] = []
    for group in (tests, stages):
        longest = max((number(value) or 0.0 for _, _, value in group), default=0.0)
        for name, stage, value in group:
            spent = number(value)
            share = None if spent is None or longest <= 0 else spent / longest
            took = Value.of(spent, seconds(value))
            rows.append(CostRow(name, stage or MISSING, took, bar(share)))
    return tuple(rows)
