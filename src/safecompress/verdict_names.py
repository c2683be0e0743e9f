"""Names in verdict documents, shared by the code that writes them and the code that reads them."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 1
"""Version of the documents; docs/verdict.md says what raises it."""

DENSE: Final = "dense"
"""The model before compression; others are compared with it."""
MAGNITUDE: Final = "magnitude"
"""The baseline: the dense model, cut by magnitude and trained on."""
COMPRESSED: Final = "compressed"
"""The model that a run makes and judges."""
UNTOUCHED: Final = "untouched"
"""The architecture of a run's model before any training; a control attacks it."""
AUDITED: Final = "model"
"""The model that an audit judges, and the model of a run as an export's retest names it."""
EXPORTED: Final = "file"
"""The exported file, in its retest."""
