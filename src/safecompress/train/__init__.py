"""Training as a function of candidates, and prediction in fp32."""

from safecompress.train.augment import require_images
from safecompress.train.batches import steps_per_epoch
from safecompress.train.fit import Trainer
from safecompress.train.post_training import PostTraining, quantise_after_training
from safecompress.train.predict import predict
from safecompress.train.probe import Probed
from safecompress.train.progress import OnProgress, Progress

__all__ = [
    "OnProgress",
    "PostTraining",
    "Probed",
    "Progress",
    "Trainer",
    "predict",
    "quantise_after_training",
    "require_images",
    "steps_per_epoch",
]
