"""`Pruned`: dense weights that are trained towards their mask before it is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from safecompress.compression.first_masks.cut import declared
from safecompress.compression.first_masks.registry import FIRST_MASKS
from safecompress.config import SparseConfig
from safecompress.defenses import Admm, Gradual, Scope, support
from safecompress.events import Event
from safecompress.protocols import FirstMask, FirstMaskContext, FirstMaskStart, FirstMaskTraining


@final
@dataclass(frozen=True)
class Pruned(FirstMask):
    """The dense model, trained on towards its mask; `steer.defenses` take part.

    Args:
        pruner: `admm` pulls the weights towards the set of weights of the mask's density, with a
            growing penalty (`sparse.admm`); `gradual` removes the smallest weights step by step
            (`sparse.gradual`).
        scope: whether magnitudes are compared over all layers (`global`) or in each (`layer`).
    """

    pruner: Literal["admm", "gradual"]
    scope: Scope
    needs_dense = True
    looks_at_members = True

    def training(self, sparse: SparseConfig) -> FirstMaskTraining:
        """Return the training of the section `sparse.admm` or `sparse.gradual`.

        Args:
            sparse: the configuration's section.
        """
        if self.pruner == "admm":
            return FirstMaskTraining(
                sparse.admm.train or sparse.train,
                Admm(sparse, scope=self.scope),
                fewest_steps=sparse.admm.rounds,
            )
        return FirstMaskTraining(
            sparse.gradual.train or sparse.train,
            Gradual(sparse, scope=self.scope),
            fewest_steps=sparse.gradual.cuts,
        )

    def start(self, context: FirstMaskContext) -> FirstMaskStart:
        """Return the trained weights and the mask that they were trained towards.

        Args:
            context: gives the trained candidate, whose defense's state holds the mask.
        """
        trained = declared(context.trained, what="trained weights")
        state, event = trained.defenses[self.pruner], None
        if self.pruner == "admm":
            residuals = state["residuals"].tolist()
            text = f"ADMM: distance from the mask {residuals[-1]:.3g}, {residuals[0]:.3g} at first"
            event = Event("note", text, {"residuals": residuals})
        return FirstMaskStart(trained.weights, support(state), event=event)


def admm_global() -> Pruned:
    """Return the mask of pruning by ADMM with one budget for the network."""
    return Pruned("admm", "global")


FIRST_MASKS.add(
    "admm-global",
    admm_global,
    summary="the dense model is first trained towards its mask, compared over all layers",
    reference="Zhang et al., ECCV 2018; Wang et al., IJCAI 2021",
    cost="the dense model, and the training of sparse.admm",
)


def admm_layer() -> Pruned:
    """Return the mask of pruning by ADMM with a budget for each layer."""
    return Pruned("admm", "layer")


FIRST_MASKS.add(
    "admm-layer",
    admm_layer,
    summary="the dense model is first trained towards its mask, compared in each layer",
    reference="Zhang et al., ECCV 2018; Wang et al., IJCAI 2021",
    cost="the dense model, and the training of sparse.admm",
)


def gradual_global() -> Pruned:
    """Return the mask of gradual pruning with one budget for the network."""
    return Pruned("gradual", "global")


FIRST_MASKS.add(
    "gradual-global",
    gradual_global,
    summary="the dense model loses its smallest weights bit by bit, compared over all layers",
    reference="Zhu & Gupta, 2017",
    cost="the dense model, and the training of sparse.gradual",
)


def gradual_layer() -> Pruned:
    """Return the mask of gradual pruning with a budget for each layer."""
    return Pruned("gradual", "layer")


FIRST_MASKS.add(
    "gradual-layer",
    gradual_layer,
    summary="the dense model loses its smallest weights bit by bit in each layer",
    reference="Zhu & Gupta, 2017",
    cost="the dense model, and the training of sparse.gradual",
)
