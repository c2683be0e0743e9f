"""`saved_state`, `restored_`: what a checkpoint holds of a loop's masks and tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.errors import DataError, ModelError
from safecompress.loops.rows_seen import RowsSeen
from safecompress.loops.steering import SteeringTests

_BEST, _NOW, _FACTS = "best|", "now|", "facts"


def saved_state(now: Candidate, tests: SteeringTests, seen: RowsSeen) -> dict[str, Any]:
    """Return tensors on the CPU and, under `facts`, one text of JSON.

    Args:
        now: where the loop stands, without weights and optimizer state, which the loop keeps.
        tests: the tests so far.
        seen: the rows that the model was given.
    """
    best = tests.best
    facts = {
        "now": now.settings(),
        "best": None if best is None else best.settings(),
        "records": tests.records,
        "without_gain": tests.without_gain,
    }
    tensors = {f"{_NOW}{k}": v.clone() for k, v in now.tensors().items()}
    if best is not None:
        tensors |= {f"{_BEST}{k}": v.clone() for k, v in best.tensors().items()}
    return {_FACTS: json.dumps(facts), **tensors, **seen.state()}


def restored_(state: Mapping[str, Any], tests: SteeringTests, seen: RowsSeen) -> Candidate:
    """Put back what `saved_state` returned, and return where the loop stands.

    Args:
        state: what it returned.
        tests: gets the tests of then.
        seen: gets the rows of then.

    Raises:
        DataError: when it is something else.
    """
    try:
        facts = json.loads(state[_FACTS])
        now = Candidate.from_tensors(_group(state, _NOW), facts["now"])
        if facts["best"] is not None:
            tests.best = Candidate.from_tensors(_group(state, _BEST), facts["best"])
        tests.records = list(facts["records"])
        tests.without_gain = int(facts["without_gain"])
        seen.load_(state)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"resume: not what state_dict() of a loop returned ({error!r}).") from error
    return now


def require_loaded(now: Candidate, module: nn.Module) -> None:
    """Raise ModelError unless the module holds weights of the masks that are put back.

    Args:
        now: where the loop stands.
        module: the module that goes on.

    Raises:
        ModelError: when a missing weight has a value.
    """
    pairs = now.topology.bind(module)
    for name, (parameter, mask) in zip(now.topology.masks, pairs, strict=True):
        if bool(parameter.detach().masked_select(~mask).any()):
            raise ModelError(
                f"resume: '{name}' has values where no weight exists; load the weights and the "
                "optimizer of the same checkpoint before SparseTraining."
            )


def _group(state: Mapping[str, Any], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
