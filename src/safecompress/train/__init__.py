"""Training as a function of candidates, and prediction in fp32."""

from safecompress.train.augment import require_images
from safecompress.train.batches import steps_per_epoch
from safecompress.train.fit import Trainer
from safecompress.train.predict import predict
from safecompress.train.probe import Probed
from safecompress.train.progress import OnProgress, Progress

__all__ = [
    "OnProgress",
    "Probed",
    "Progress",
    "Trainer",
    "predict",
    "require_images",
    "steps_per_epoch",
]
