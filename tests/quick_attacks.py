"""Options under which dear attacks learn and ask less, and still find what is planted."""

from __future__ import annotations

from typing import Any

from tests.support import calibrating, count

QUICK: dict[str, dict[str, Any]] = {
    "neural-published": {"epochs": count(8, 100)},
    "white-box-published": {"epochs": count(20, 30)},
    "samia": {"copies": 2, "epochs": count(4, 15)},
    "boundary": {} if calibrating() else {"steps": 1, "directions": 2, "estimates": 4},
    "augmentation": {} if calibrating() else {"copies": 3, "levels": 4},
    "learnt-references": {} if calibrating() else {"rows": 3000, "draws": 1},
    "learnt-set": {} if calibrating() else {"rows": 3000, "draws": 1},
}
"""By the name of the attack; at full counts nearly the options that users get."""
