"""`PROPOSALS`: the ways to change a candidate that a configuration can name.

Each proposal is added below its class or factory, in its own file.
"""

from __future__ import annotations

from safecompress.protocols import Proposal
from safecompress.registry import Registry

PROPOSALS: Registry[Proposal] = Registry("proposal", "safecompress.proposals", Proposal)
