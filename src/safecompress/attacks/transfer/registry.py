"""The attacks that craft inputs, as a configuration can name them."""

from __future__ import annotations

from safecompress.attacks.transfer.diverse import DiverseInputs
from safecompress.attacks.transfer.gfcs import Gfcs
from safecompress.attacks.transfer.momentum import MomentumFgsm
from safecompress.attacks.transfer.pgd import Fgsm, Pgd
from safecompress.attacks.transfer.query_attack import QueryAttack
from safecompress.attacks.transfer.rgf import PriorRgf, Rgf
from safecompress.attacks.transfer.square import Square
from safecompress.protocols import TransferAttack
from safecompress.registry import Registry

TRANSFER_ATTACKS: Registry[TransferAttack] = Registry(
    "transfer attack", "safecompress.transfer_attacks"
)
QUERY_ATTACKS: Registry[QueryAttack] = Registry("query attack", "safecompress.query_attacks")

_GRADIENTS = "a forward and a backward pass a step"

TRANSFER_ATTACKS.add(
    "fgsm",
    Fgsm,
    summary="one step of the whole radius along the source's gradient",
    reference="Goodfellow et al., ICLR 2015",
    cost="one forward and backward pass",
)
TRANSFER_ATTACKS.add(
    "pgd",
    Pgd,
    summary="steps along the source's gradient, put back into the ball",
    reference="Madry et al., ICLR 2018",
    cost=_GRADIENTS,
)
TRANSFER_ATTACKS.add(
    "mi-fgsm",
    MomentumFgsm,
    summary="steps along an average of all gradients so far",
    reference="Dong et al., CVPR 2018",
    cost=_GRADIENTS,
)
TRANSFER_ATTACKS.add(
    "di-fgsm",
    DiverseInputs,
    summary="as mi-fgsm, with gradients at randomly shrunk and shifted images",
    reference="Xie et al., CVPR 2019",
    cost=_GRADIENTS,
)
QUERY_ATTACKS.add(
    "rgf",
    Rgf,
    summary="a gradient estimated along random directions; no source",
    reference="Nesterov & Spokoiny, 2017; Cheng et al., NeurIPS 2019",
    cost="11 questions a step",
)
QUERY_ATTACKS.add(
    "p-rgf",
    PriorRgf,
    summary="the same, leaning towards the source's gradient as far as that is right",
    reference="Cheng et al., NeurIPS 2019",
    cost="2 to 12 questions a step, and 10 more every tenth",
)
QUERY_ATTACKS.add(
    "gfcs",
    Gfcs,
    summary="the source's gradient forth and back, then gradients of mixtures of its logits",
    reference="Lord, Mueller & Bertinetto, ICLR 2022",
    cost="1 or 2 questions a step",
)
QUERY_ATTACKS.add(
    "square",
    Square,
    summary="random square windows, kept where they help; no source; images only",
    reference="Andriushchenko et al., ECCV 2020",
    cost="1 question a step",
)
