"""The ways to a sparse model that `benchmarks/selection.py` compares."""

from __future__ import annotations

from dataclasses import dataclass

EVERY = "steer.search=every-round"
_UNFIRED = '{"update":{"drop":"magnitude","grow":"random-unfired"}}'
_TAYLOR = '{"update":{"drop":"taylor","grow":"gradient"}}'
_SOFT = {
    "soft-0.3": '{"soft-labels":{"share":0.3,"mask":"rigl"}}',
    "soft-0.6": '{"soft-labels":{"share":0.6,"mask":"rigl"}}',
    "soft-1": '{"soft-labels":{"share":1.0,"mask":"rigl"}}',
    "soft-1-warm": '{"soft-labels":{"share":1.0,"temperature":2,"mask":"rigl"}}',
}
_MASK_MOVES = f'["rigl","set",{_UNFIRED},{_TAYLOR}]'
MOVES = f'["rigl",{",".join(_SOFT.values())}]'
_FOUR = f'["rigl",{_SOFT["soft-0.6"]},{_SOFT["soft-1"]},{_SOFT["soft-1-warm"]}]'
_SHORT = "sparse.settle_epochs=2"
_TM = 'steer.objective={"tm":{"attack":"auc"}}'


@dataclass(frozen=True)
class Method:
    """One way to a sparse model.

    Args:
        settings: assignments to the configuration.
        role: `main` methods are compared in the final table; `instance` ones are shown in it, with
            no test of their own; `attempt` ones were tried on the way.
        fitted: whether its epochs are set so that it spends as much as SafeCompress.
    """

    settings: tuple[str, ...]
    role: str = "main"
    fitted: bool = True
    says: str = ""


REFERENCE = "safecompress"
METHODS: dict[str, Method] = {
    "static": Method(
        ("sparse.rounds=0", "sparse.initialize=scratch"),
        says="a random mask on untrained weights",
    ),
    "magnitude": Method(
        ("sparse.rounds=0",), says="the dense model's largest weights, fine-tuned, mask unchanged"
    ),
    "set": Method(('steer.proposals=["set"]', _TM)),
    "rigl": Method(('steer.proposals=["rigl"]', _TM)),
    "random": Method(
        (f"steer.proposals={MOVES}", "steer.draw=1", EVERY, _TM),
        says="one of the moves at random each round",
    ),
    "best-of-4": Method(
        (f"steer.proposals={MOVES}", "steer.draw=1", "steer.population=4", EVERY, _TM),
        says="four such paths, the best in the last round's tests goes on",
    ),
    REFERENCE: Method(
        (f"steer.proposals={MOVES}", _TM),
        fitted=False,
        says="the search: a lineage for each move, halved round by round, two to the last round",
    ),
    **{
        name: Method((f"steer.proposals=[{move}]", _TM), says="the same move every round")
        for name, move in _SOFT.items()
    },
    "wmia": Method(
        (f"steer.proposals={MOVES}", _TM, 'steer.attacks=["white-box"]'),
        role="instance",
        fitted=False,
        says="the search, steered by a white-box attacker",
    ),
    "mmia": Method(
        (
            f"steer.proposals={MOVES}",
            _TM,
            'steer.attacks=["loss","modified-entropy","neural","white-box"]',
        ),
        role="instance",
        fitted=False,
        says="the search, steered by the worst of black-box and white-box attackers",
    ),
    "masks-paired": Method(
        (f"steer.proposals={_MASK_MOVES}", "steer.objective=paired", EVERY, _SHORT),
        role="attempt",
        says="attempt 1: four mask strategies, greedy, mean AUC at an accuracy floor",
    ),
    "masks-tm": Method(
        (f"steer.proposals={_MASK_MOVES}", _TM, EVERY, _SHORT),
        role="attempt",
        says="attempt 2: the same, judged by TM with AUC",
    ),
    "masks-population": Method(
        (f"steer.proposals={_MASK_MOVES}", "steer.draw=2", "steer.population=2", _TM, EVERY),
        role="attempt",
        says="attempt 3: two lineages that live on, each round judged at its end",
    ),
    "masks-fraction": Method(
        (
            'steer.proposals=[{"rigl":{"fraction":0.1}},{"rigl":{"fraction":0.3}},'
            '{"rigl":{"fraction":0.5}},{"set":{"fraction":0.5}}]',
            _TM,
            EVERY,
            _SHORT,
        ),
        role="attempt",
        says="attempt 4: fractions from .1 to .5",
    ),
    "masks-random": Method(
        (f"steer.proposals={_MASK_MOVES}", "steer.draw=1", _TM, EVERY, _SHORT),
        role="attempt",
        says="control of attempts 1 to 4: mask strategies at random",
    ),
    "soft-greedy": Method(
        (f"steer.proposals={_FOUR}", _TM, EVERY, _SHORT),
        role="attempt",
        says="attempt 5: soft labels among the moves, greedy after a short settle",
    ),
    "soft-paired": Method(
        (f"steer.proposals={_FOUR}", "steer.objective=paired", EVERY, _SHORT),
        role="attempt",
        says="attempt 6: the same, judged by mean AUC at an accuracy floor",
    ),
    "soft-population": Method(
        (f"steer.proposals={_FOUR}", "steer.draw=2", "steer.population=2", _TM, EVERY),
        role="attempt",
        says="attempt 7: two lineages, each round judged at its end",
    ),
}
"""Attempt 8 is not listed: a tournament with one lineage left after the third round, which chose
before the lineages differed. Attempt 9 is the default search: two lineages reach the last round."""
