"""First masks in a run: what they are shown, a made-up one, and those that a run refuses."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from safecompress import load_config
from safecompress.candidate import SoftTarget
from safecompress.cli.kinds import KINDS
from safecompress.compression.dp_guarantee import guarantee
from safecompress.compression.first_masks import FIRST_MASKS, Magnitude
from safecompress.compression.start import start_candidate
from safecompress.errors import ConfigError
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart
from safecompress.registry import Part
from safecompress.run.folder import MODEL
from safecompress.run.model_file import read_model
from safecompress.topology import Topology
from tests.first_masks import NAMES, SPARSE, Striped, begins, begun, stored
from tests.plugins import install
from tests.small_runs import SETTINGS, TRAIN, begin, brisk


@pytest.mark.parametrize("name", NAMES)
def test_a_search_begins_with_zeros_where_no_weight_exists(name: str, tmp_path: Path) -> None:
    start = begins(begun(tmp_path / "run"), FIRST_MASKS.build(name, where="test"))
    assert not start.topology.masks.keys() - start.weights.keys()
    for layer, kept in start.topology.masks.items():
        assert not bool(kept.all())
        assert not bool(start.weights[layer][~kept].any())


@pytest.mark.parametrize("name", NAMES)
def test_every_first_mask_asks_only_for_what_it_declares(name: str, tmp_path: Path) -> None:
    """Where the run has more than a first mask declares, the mask is not shown it."""
    mask = FIRST_MASKS.build(name, where="test")
    session = begun(tmp_path / "run")
    contexts: list[FirstMaskContext] = []

    @dataclass(frozen=True)
    class Watched(FirstMask):
        needs_dense = mask.needs_dense
        needs_teachers = mask.needs_teachers
        needs_soft_labels = mask.needs_soft_labels
        looks_at_members = mask.looks_at_members

        def training(self, sparse: Any) -> Any:
            return mask.training(sparse)

        def start(self, context: FirstMaskContext) -> FirstMaskStart:
            contexts.append(context)
            return mask.start(context)

    begins(session, Watched())
    (shown,) = contexts
    assert (shown.dense is None) == (not mask.needs_dense)
    assert (shown.student is None) == (not mask.needs_teachers)
    assert (shown.soft_gradient is None) == (not mask.needs_soft_labels)
    assert (shown.gradient is None) == (not mask.looks_at_members)
    assert (shown.trained is None) == (mask.training(session.config.sparse) is None)


def test_a_made_up_first_mask_is_where_the_search_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FIRST_MASKS.parts, "striped", Part("striped", Striped, "made up"))
    sparse = SETTINGS["sparse"] | {"rounds": 0, "settle_epochs": None}
    with brisk():
        for first in (0, 1):
            chosen = sparse | {"initialize": {"striped": {"first": first}}}
            run = begin(tmp_path / str(first), sparse=chosen, baselines=[], dense={"epochs": 0})
            for mask in read_model(run.folder / MODEL).topology.masks.values():
                assert bool(mask.flatten()[first::2].all())
                assert not bool(mask.flatten()[1 - first :: 2].any())


def test_a_package_publishes_a_first_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path,
        "striped-package",
        points={"striped": "striped_package:Striped"},
        code="from tests.unit.compression.test_first_masks import Striped\n",
        group="safecompress.first_masks",
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert (
            type(FIRST_MASKS.build({"striped": {"first": 1}}, where="test")).__name__ == "Striped"
        )
        assert "striped" in KINDS["first-masks"].all()
    finally:
        sys.modules.pop("striped_package", None)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("magnitude", r"sparse.initialize: no first mask is called 'magnitude'; did you mean"),
        ({"snip": {"batches": 3}}, r"sparse.initialize.snip: unknown option 'batches'"),
        ({"snip": {}, "scratch": {}}, "expected a name or one name with its options"),
    ],
)
def test_what_is_no_first_mask_is_refused_before_any_training(
    request_: Any, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        begun(tmp_path / "run", sparse=SPARSE | {"initialize": request_})


def test_a_mask_of_the_dense_model_needs_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"begins without: .*scratch.*snip.*student-global"):
        begun(tmp_path / "run", dense={"epochs": 0})


# First masks that break the contract

Change = Callable[[FirstMaskStart, FirstMaskContext], Any]


def _weights(change: Callable[[Tensor], Tensor]) -> Change:
    def changed(start: FirstMaskStart, context: FirstMaskContext) -> FirstMaskStart:
        return replace(start, weights={n: change(t) for n, t in start.weights.items()})

    return changed


def _masks(change: Callable[[Tensor], Tensor]) -> Change:
    def changed(start: FirstMaskStart, context: FirstMaskContext) -> FirstMaskStart:
        masks = {n: change(m) for n, m in start.topology.masks.items()}
        return replace(start, topology=Topology(masks))

    return changed


def _raises(start: FirstMaskStart, context: FirstMaskContext) -> FirstMaskStart:
    raise LookupError("planted\nand more")


def _looks(start: FirstMaskStart, context: FirstMaskContext) -> FirstMaskStart:
    undeclared: Any = context.gradient
    return replace(start, weights=undeclared(start.weights))


BREACHES: Mapping[str, tuple[Change, str]] = {
    "dense": (_masks(torch.ones_like), "kept 72 weights of 72"),
    "empty": (_masks(torch.zeros_like), "kept 0 weights of 72"),
    "numbers": (_masks(lambda m: m.float()), "returned the mask of"),
    "flat masks": (_masks(torch.flatten), "returned the mask of"),
    "NaN": (_weights(lambda t: t * torch.nan), "returned NaN or infinite values"),
    "flat weights": (_weights(torch.flatten), "expected float32"),
    "half": (_weights(lambda t: t.half()), "as float16"),
    "nothing": (lambda start, context: None, "returned NoneType"),
    "soft": (
        lambda start, context: replace(start, soft_target=SoftTarget(1.0, 1.0)),
        "without declaring needs_teachers",
    ),
    "raises": (_raises, "raised LookupError: planted and more"),
    "looks": (_looks, "raised TypeError"),
}


@pytest.mark.parametrize("does", BREACHES)
def test_a_start_that_breaks_the_contract_is_refused_by_name(does: str, tmp_path: Path) -> None:
    change, message = BREACHES[does]

    @dataclass(frozen=True)
    class Broken(FirstMask):
        def start(self, context: FirstMaskContext) -> FirstMaskStart:
            start: FirstMaskStart = change(Striped().start(context), context)
            return start

    with pytest.raises(ConfigError, match=rf"Broken.*test_first_masks\) .*{message}") as caught:
        begins(begun(tmp_path / "run"), Broken())
    assert "\n" not in str(caught.value)


def test_what_a_first_mask_does_to_its_context_reaches_nobody(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Spoiler(FirstMask):
        needs_dense = True

        def start(self, context: FirstMaskContext) -> FirstMaskStart:
            start = Striped().start(context)
            kept = {name: tensor.clone() for name, tensor in start.weights.items()}
            with torch.no_grad():
                for tensor in (
                    *context.untrained.values(),
                    *(context.dense or {}).values(),
                    *context.module.parameters(),
                ):
                    tensor.fill_(torch.nan)
            return replace(start, weights=kept)

    session = begun(tmp_path / "run")
    dense, trainer = stored(session, 1), session.trainers.plain()
    start_candidate(session, Spoiler(), trainer=trainer, dense=dense, student=None)
    for tensor in (*session.initial.values(), *dense.weights.values()):
        assert bool(tensor.isfinite().all())
    again = start_candidate(
        session, Magnitude("global"), trainer=trainer, dense=dense, student=None
    )
    assert all(bool(t.isfinite().all()) for t in again.weights.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_guarantee_of_dp_sgd_is_read_off_the_first_mask(name: str, tmp_path: Path) -> None:
    """A dense stage without DP-SGD voids it where the dense model has a part, and only there."""
    mask = FIRST_MASKS.build(name, where="test")
    if mask.training(load_config({"sparse": SPARSE}).sparse) is not None:
        pytest.skip("no other defense goes with DP-SGD")
    changes: dict[str, Any] = {
        "sparse": SPARSE | {"initialize": name, "rounds": 0, "settle_epochs": None},
        "steer": {"attacks": ["loss"], "defenses": [{"dp-sgd": {"clip": 1.0, "noise": 1.0}}]},
        "dense": TRAIN,
    }
    pytest.importorskip("opacus")
    found = guarantee(begun(tmp_path / "run", **changes))
    assert found is not None
    if mask.needs_dense:
        assert "another stage trains without it" in found.text
    elif mask.looks_at_members:
        assert f"the first mask '{name}' looks at members" in found.text
    else:
        assert found.epsilon > 0
