"""`TRANSFER_ATTACKS` and `QUERY_ATTACKS`: attacks that craft inputs, each added below its class."""

from __future__ import annotations

from safecompress.attacks.transfer.query_attack import QueryAttack
from safecompress.protocols import TransferAttack
from safecompress.registry import Registry

TRANSFER_ATTACKS: Registry[TransferAttack] = Registry(
    "transfer attack", "safecompress.transfer_attacks", TransferAttack
)
QUERY_ATTACKS: Registry[QueryAttack] = Registry(
    "query attack", "safecompress.query_attacks", QueryAttack
)
