"""The defences a configuration can name."""

from __future__ import annotations

from safecompress.defenses.adversarial import AdversarialTraining
from safecompress.defenses.unpairing import Unpairing
from safecompress.protocols import Defense
from safecompress.registry import Registry

DEFENSES: Registry[Defense] = Registry("defence", "safecompress.defenses")

DEFENSES.add(
    "adversarial",
    AdversarialTraining,
    summary="attackers, black- or white-box, learn beside the model, and it learns to confuse them",
    reference="Nasr, Shokri & Houmansadr, CCS 2018; gain bounded here",
    cost="two more forward passes a batch from `start` on, whatever the attacker",
)

DEFENSES.add(
    "unpairing",
    Unpairing,
    summary="pulls the model's input gradients apart from the dense one's",
    reference="after Hong, Carlini & Kurakin, SaTML 2023",
    cost="the dense model's gradient and a second backward pass a step",
)
