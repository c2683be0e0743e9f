"""`export_facts`: what the document beside an exported file says of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safecompress.data import Splits
from safecompress.export.agreement import Agreement
from safecompress.export.fallback import Fallback
from safecompress.export.format import FP32, INT8, INT8_WEIGHTS, Format
from safecompress.export.retest import Retest
from safecompress.export.shipping import Shipping
from safecompress.export.source import Source
from safecompress.export.written import files_of
from safecompress.files import sha256
from safecompress.run.folder import CONFIG, MODEL, PROVENANCE, VERDICT
from safecompress.run.provenance import surroundings
from safecompress.verdicts.assemble import ExportFacts
from safecompress.verdicts.export_document import (
    ExportedFile,
    ExportedModel,
    ExportedRun,
    Measured,
    SteeringAgreement,
)

USE = (
    "Classifying rows drawn like the training data, on the device this file is shipped to. Not for "
    "other data, and not for decisions about people that nobody reviews."
)
_ALIKE = (
    "The retest compares the file with the model on the sealed rows of the run; a difference "
    "smaller than its interval cannot be seen with so few rows."
)


def export_facts(
    source: Source,
    form: Format,
    path: Path,
    content: bytes,
    facts: Mapping[str, Any],
    retested: Retest,
    measured: Measured | None,
    shipping: Shipping,
    *,
    settled: Fallback,
    min_agreement: float,
) -> ExportFacts:
    """Return what the document beside a file says of it.

    Args:
        source: the run.
        form: the file's format.
        path: the file.
        content: its bytes.
        facts: those inside the file.
        retested: its test on the sealed rows.
        measured: size and speed; None where they were not measured.
        shipping: the verdict on it.
        settled: which of its layers are rounded less, and what chose them.
        min_agreement: the share of rows with the model's class that was asked for.
    """
    run, verdict = source.run, source.verdict
    splits = run.splits
    return ExportFacts(
        file=ExportedFile(name=path.name, format=form.name, bytes=len(content)),
        made_with=surroundings(),
        model=ExportedModel(
            architecture=verdict.model.name,
            parameters=verdict.model.parameters,
            density=run.stored.topology.density,
            format=f"{form.name}: {form.summary}",
            inputs=_inputs(facts, splits),
            classes=", ".join(splits.class_names),
            in_fp32=settled.layers_in(FP32),
            int8_weights=settled.layers_in(INT8_WEIGHTS),
            in_int8=settled.layers_in(INT8),
        ),
        data={str(k): str(v) for k, v in splits.report.sizes.items()},
        use=USE,
        usage=form.usage.replace("{file}", json.dumps(path.name)),
        run=ExportedRun(name=run.folder.name, verdict=verdict.verdict, sentence=verdict.sentence),
        retest=retested.facts,
        agreement=_agreed(settled.agreement, min_agreement),
        measured=measured,
        faithful=shipping.faithful,
        despite_failure=shipping.despite,
        limits=(*verdict.limits, _ALIKE, *form.limits),
        sha256={
            **{
                place.name: hashlib.sha256(part).hexdigest()
                for place, part in files_of(form, path, content).items()
            },
            **{
                name: sha256(run.folder / name)
                for name in (MODEL, VERDICT, CONFIG, PROVENANCE)
                if (run.folder / name).is_file()
            },
            "sealed rows": splits.sealed_digest,
        },
    )


def _agreed(found: Agreement | None, least: float) -> SteeringAgreement | None:
    if found is None:
        return None
    return SteeringAgreement(
        same_class=found.share, low=found.low, rows=found.rows, min_agreement=least
    )


def _inputs(facts: Mapping[str, Any], splits: Splits) -> str:
    if facts["preprocessing"] == "inside":
        return "raw rows; preprocessing is inside"
    most = f", at most {facts['rows']} a call" if "rows" in facts else ""
    return f"preprocessed rows {splits.input_shape}{most}; see load_preprocessor"
