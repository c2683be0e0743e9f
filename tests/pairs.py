"""Audits of a pair by few attackers, for tests of what an audit does with what they find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from safecompress.attacks.transfer import adaptive
from safecompress.audits import pair
from tests.support import calibrating

_ATTACKERS = {"pgd-10", "noise"}
_ON_SURROGATES = {"momentum"}


@contextmanager
def brisk_pairs() -> Iterator[None]:
    """Leave out most attackers on a pair, and most of the queries that are counted.

    `make calibrate` leaves out nothing. Which attackers there are, and how many queries they may
    make, is the subject of the tests of transfer.
    """
    if calibrating():
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, kept in (
            ("adaptive_attackers", _ATTACKERS),
            ("surrogate_attackers", _ON_SURROGATES),
        ):
            whole = getattr(adaptive, name)
            patch.setattr(
                adaptive,
                name,
                lambda x, whole=whole, kept=kept: {k: v for k, v in whole(x).items() if k in kept},
            )
        patch.setattr(pair, "_BUDGET", 100)
        yield
