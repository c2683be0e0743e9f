"""What every test needs, the examples in documents and docstrings included."""

from __future__ import annotations

import gc
import os

# What imports make stays, and looking through it for garbage again and again takes a sixth of them.
gc.set_threshold(50_000, 20, 20)

# Before torch is imported, so that a bare `pytest` runs as `make test` does. Child processes of
# tests inherit it.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import torch  # noqa: E402
from tests import verdict_schema  # noqa: E402
from tests.documents import documents  # noqa: E402

torch.set_num_threads(1)

pytest_collect_file = documents.pytest()


def pytest_sessionstart() -> None:
    """Hold every verdict document that any test or example makes against the committed schema."""
    verdict_schema.watch_()
