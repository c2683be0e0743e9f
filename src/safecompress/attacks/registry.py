"""The attacks a configuration can name."""

from __future__ import annotations

from safecompress.attacks.augmentation import AugmentationAttack
from safecompress.attacks.boundary import BoundaryAttack
from safecompress.attacks.family import FamilyAttack
from safecompress.attacks.gap import GapAttack
from safecompress.attacks.lira import CalibratedAttack, LiraOfflineAttack, LiraOnlineAttack
from safecompress.attacks.metric import (
    ConfidenceAttack,
    EntropyAttack,
    LossAttack,
    ModifiedEntropyAttack,
)
from safecompress.attacks.neural import NeuralAttack
from safecompress.attacks.neural_published import PublishedNeuralAttack
from safecompress.attacks.pair import PairAttack
from safecompress.attacks.quantile import QuantileAttack
from safecompress.attacks.rmia import RmiaAttack
from safecompress.attacks.white_box import WhiteBoxAttack
from safecompress.attacks.white_box_published import PublishedWhiteBoxAttack
from safecompress.protocols import Attack
from safecompress.registry import Registry

ATTACKS: Registry[Attack] = Registry("attack", "safecompress.attacks")

_REFERENCES = "about 0.1 s for 64 references × 20,000 rows on one core, once they are trained"

_SHARED = "about 0.04 s for 20,000 rows × 100 classes on one core, all metric attacks together"

ATTACKS.add(
    "loss",
    LossAttack,
    summary="members have a lower cross-entropy",
    reference="Yeom et al., CSF 2018",
    cost=_SHARED,
)
ATTACKS.add(
    "confidence",
    ConfidenceAttack,
    summary="members have a higher top probability; needs no label",
    reference="Salem et al., NDSS 2019",
    cost=_SHARED,
)
ATTACKS.add(
    "entropy",
    EntropyAttack,
    summary="members have a lower entropy; needs no label",
    reference="Salem et al., NDSS 2019; Song & Mittal, USENIX Security 2021, eq. 7",
    cost=_SHARED,
)
ATTACKS.add(
    "modified-entropy",
    ModifiedEntropyAttack,
    summary="members have a lower entropy that counts whether the prediction is right",
    reference="Song & Mittal, USENIX Security 2021, eq. 8",
    cost=_SHARED,
)
ATTACKS.add(
    "neural",
    NeuralAttack,
    summary="a small network on sorted log-probabilities, loss, entropies and correctness",
    reference="features after Salem et al., NDSS 2019, and Song & Mittal, USENIX Security 2021",
    cost="about 0.01 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)
ATTACKS.add(
    "neural-published",
    PublishedNeuralAttack,
    summary="the published framework's two-branch network on softmax and one-hot label",
    reference="Zhu et al., ASE 2022 (arXiv 2208.05969)",
    cost="about 15 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)
ATTACKS.add(
    "gap",
    GapAttack,
    summary="members are classified correctly more often; needs only the predicted class",
    reference="Yeom et al., CSF 2018",
    cost="about 0.01 s for 20,000 rows × 100 classes on one core",
)
ATTACKS.add(
    "pair",
    PairAttack,
    summary="a small network on what the dense and the compressed model say, and how they differ",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.05 s for 1,000 + 1,000 fit rows × 30 classes on one core; linear in rows",
)
ATTACKS.add(
    "family",
    FamilyAttack,
    summary="a small network on how several compressed versions differ",
    reference="after CompLeak, USENIX Security 2026",
    cost="about 0.08 s for 1,000 + 1,000 fit rows × 2 versions on one core; linear in rows",
)
ATTACKS.add(
    "augmentation",
    AugmentationAttack,
    summary="members stay right under small changes; asks for predicted classes alone",
    reference="Choquette-Choo et al., ICML 2021",
    cost="96 predictions for each row of the fit half, 48 for each other",
)
ATTACKS.add(
    "boundary",
    BoundaryAttack,
    summary="members lie farther from the boundary; asks for predicted classes alone",
    reference="Choquette-Choo et al., ICML 2021; Chen et al., S&P 2020",
    cost="at most 533 predictions a row",
)
ATTACKS.add(
    "quantile",
    QuantileAttack,
    summary="the model is surer of members than their inputs let expect; no references needed",
    reference="Bertran et al., NeurIPS 2023",
    cost="about 1 s for 2,000 + 2,000 rows × 446 columns on one core",
)
ATTACKS.add(
    "lira-online",
    LiraOnlineAttack,
    summary="likelihood ratio of references that saw a row to references that did not",
    reference="Carlini et al., S&P 2022",
    cost=_REFERENCES,
)
ATTACKS.add(
    "lira-offline",
    LiraOfflineAttack,
    summary="how far a row's confidence lies above that of references that did not see it",
    reference="Carlini et al., S&P 2022",
    cost=_REFERENCES,
)
ATTACKS.add(
    "calibrated",
    CalibratedAttack,
    summary="confidence relative to that of references that did not see the row; one is enough",
    reference="Watson et al., ICLR 2022",
    cost=_REFERENCES,
)
ATTACKS.add(
    "rmia",
    RmiaAttack,
    summary="a row's probability relative to references, compared with a population's",
    reference="Zarifzadeh et al., ICML 2024",
    cost=_REFERENCES,
)
ATTACKS.add(
    "white-box",
    WhiteBoxAttack,
    summary="what neural sees, the length of each layer's gradient and how typical a row looks",
    reference="Nasr, Shokri & Houmansadr, S&P 2019, for what is read",
    cost="about 0.02 s for 1,000 + 1,000 fit rows × 30 classes on one core, and as long as two to "
    "four predictions of all rows",
)
ATTACKS.add(
    "white-box-published",
    PublishedWhiteBoxAttack,
    summary="the published framework's four branches: softmax, loss, label, last layer's gradient",
    reference="Zhu et al., ASE 2022 (arXiv 2208.05969), after Nasr et al., S&P 2019",
    cost="about 30 s for 1,000 + 1,000 fit rows × 30 classes × 256 features on one core; linear in "
    "each",
)
