"""The defenses a configuration can name."""

from __future__ import annotations

from safecompress.defenses.adversarial import AdversarialTraining
from safecompress.defenses.distillation import Distillation
from safecompress.defenses.dp_sgd import DpSgd
from safecompress.defenses.dropout import Dropout
from safecompress.defenses.early_stopping import EarlyStopping
from safecompress.defenses.entropy import EntropyBonus
from safecompress.defenses.hamp import Hamp
from safecompress.defenses.label_smoothing import LabelSmoothing
from safecompress.defenses.ppb import PairBalance
from safecompress.defenses.relax_loss import RelaxLoss
from safecompress.defenses.unpairing import Unpairing
from safecompress.protocols import Defense
from safecompress.registry import Registry

DEFENSES: Registry[Defense] = Registry("defense", "safecompress.defenses")

DEFENSES.add(
    "adversarial",
    AdversarialTraining,
    summary="attackers, black- or white-box, learn beside the model, and it learns to confuse them",
    reference="Nasr, Shokri & Houmansadr, CCS 2018; gain bounded here",
    cost="inherits dense weights; two more forward passes a batch from `start` on",
)
DEFENSES.add(
    "label-smoothing",
    LabelSmoothing,
    summary="part of the target is spread over all classes",
    reference="Szegedy et al., CVPR 2016",
    cost="inherits dense weights; nothing",
)
DEFENSES.add(
    "entropy",
    EntropyBonus,
    summary="confident answers cost, on all rows or on those it gets wrong",
    reference="Pereyra et al., 2017",
    cost="inherits dense weights; nothing",
)
DEFENSES.add(
    "relax-loss",
    RelaxLoss,
    summary="holds the members' loss at a target instead of letting it fall",
    reference="Chen, Yu & Fritz, ICLR 2022",
    cost="inherits dense weights; nothing",
)
DEFENSES.add(
    "ppb",
    PairBalance,
    summary="the sorted outputs of a batch's two halves must be alike",
    reference="Yuan & Zhang, USENIX Security 2022",
    cost="inherits dense weights; nothing",
)
DEFENSES.add(
    "hamp",
    Hamp,
    summary="soft labels of high entropy and an entropy bonus; outputs are left as they are",
    reference="Chen & Pattabiraman, NDSS 2024",
    cost="inherits dense weights; nothing",
)
DEFENSES.add(
    "dropout",
    Dropout,
    summary="drops what linear layers after the first are given, in any model",
    reference="Srivastava et al., JMLR 2014; Salem et al., NDSS 2019",
    cost="inherits dense weights; nothing",
)
DEFENSES.add(
    "early-stopping",
    EarlyStopping,
    summary="a stage ends with the weights that had the least loss on steering rows",
    reference="Song & Mittal, USENIX Security 2021",
    cost="for a new dense model; given weights are past it; a look at the steering rows now and "
    "then",
)
DEFENSES.add(
    "distillation",
    Distillation,
    summary="learns what the dense model says, of members or of reference rows only",
    reference="Hinton et al., 2015; Shejwalkar & Houmansadr, AAAI 2021",
    cost="learns from the dense model, inherits its weights unless sparse.initialize is scratch; "
    "one more forward pass a batch",
)
DEFENSES.add(
    "dp-sgd",
    DpSgd,
    summary="clips every row's gradient and adds noise; ε in the verdict; needs the extra `dp`",
    reference="Abadi et al., CCS 2016; accountant of Opacus",
    cost="trains anew, also the dense model: given weights void its guarantee; a gradient a row",
)
DEFENSES.add(
    "unpairing",
    Unpairing,
    summary="pulls the model's input gradients apart from the dense one's",
    reference="after Hong, Carlini & Kurakin, SaTML 2023",
    cost="inherits dense weights; the dense model's gradient and a second backward pass a step",
)
