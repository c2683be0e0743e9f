"""`falling_back`: layers whose rounding changes a file's answers go back to finer number formats.

Steering rows decide which layers do, as they decide on everything that is chosen. The sealed rows
then test one file once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safecompress.checks import Status
from safecompress.events import Event, Listener
from safecompress.export.agreement import Agreement
from safecompress.export.context import ExportContext
from safecompress.export.finer import finer
from safecompress.export.format import FP32, INT8_WEIGHTS, Format
from safecompress.export.retest import Compared, compared
from safecompress.export.source import Source
from safecompress.export.written import write_files, written

_BECOMES = {INT8_WEIGHTS: "computes in fp32, with int8 weights", FP32: "stays fp32"}


@dataclass(frozen=True)
class Fallback:
    """The file that an export settles on.

    Args:
        context: what it is written from.
        kept: the number formats of the layers that went back, by their names in the module, the
            costliest first.
        agreement: of the file with the model on the steering non-members; None where the format
            has no layers that could go back.
    """

    context: ExportContext
    kept: Mapping[str, str]
    agreement: Agreement | None

    def layers_in(self, kind: str) -> str | None:
        """Return the names of the layers in a number format; None where there are none."""
        return ", ".join(name for name, to in self.kept.items() if to == kind) or None


def falling_back(
    source: Source,
    form: Format,
    context: ExportContext,
    *,
    min_agreement: float,
    on_event: Listener,
) -> Fallback:
    """Return the context in which a format's file answers as the model.

    The file is compared with the model on the steering rows, by the checks of the retest, and must
    name the model's class on so many of the non-members that `min_agreement` of unseen rows is to
    be expected. While it does not, the layer whose rounding alone changes the logits of members
    most goes back to a finer number format, then the next one. Where rounding changes nothing that
    the checks see, nothing does.

    Args:
        source: the run.
        form: the format; of one without `layers` nothing is asked here.
        context: of the run, with every layer as the format rounds it.
        min_agreement: share of unseen rows, in [0, 1]; 0 asks for none.
        on_event: is told of every layer that goes back.
    """
    names = form.layers(context)
    if not names:
        return Fallback(context, {}, None)
    seen: dict[frozenset[tuple[str, str]], Agreement] = {}

    def good(tried: ExportContext) -> bool:
        found = _compared(source, form, tried, min_agreement)
        seen[frozenset(tried.kept.items())] = found.agreement
        failed = any(check.status is Status.FAIL for check in found.checks)
        return not failed and found.agreement.shows(min_agreement)

    chosen = finer(form, context, good)
    if frozenset(chosen.kept.items()) not in seen:
        good(chosen)
    kept = {names[name]: to for name, to in chosen.kept.items()}
    for name, to in kept.items():
        how = _BECOMES.get(to, f"stays {to}")
        on_event(Event("note", f"rounding '{name}' changes answers; it {how}"))
    return Fallback(chosen, kept, seen[frozenset(chosen.kept.items())])


def _compared(
    source: Source, form: Format, context: ExportContext, min_agreement: float
) -> Compared:
    """Compare a file with the model on the steering rows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"steering{form.suffixes[0]}"
        write_files(form, path, written(form, context, {}))
        return compared(
            source,
            path,
            form,
            context,
            source.run.splits.steer,
            level=source.run.config.verdict.level,
            min_agreement=min_agreement,
        )
