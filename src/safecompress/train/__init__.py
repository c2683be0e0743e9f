"""Training as a function of candidates, and outputs of any module in fp32."""

from safecompress.train.arithmetic import Arithmetic
from safecompress.train.augment import require_images
from safecompress.train.augment_words import WORD_CHANGES, require_words
from safecompress.train.batches import steps_per_epoch
from safecompress.train.fit import Trainer
from safecompress.train.loss import only_penalties, require_no_accounting, require_together
from safecompress.train.masks import LiveMasks
from safecompress.train.post_training import PostTraining, input_bounds, quantize_after_training
from safecompress.train.predict import predict
from safecompress.train.progress import OnProgress, Progress
from safecompress.train.side_by_side import (
    Task,
    Trained,
    small_steps,
    train_side_by_side,
)
from safecompress.train.transfer_set import TransferSet

__all__ = [
    "WORD_CHANGES",
    "Arithmetic",
    "LiveMasks",
    "OnProgress",
    "PostTraining",
    "Progress",
    "Task",
    "Trained",
    "Trainer",
    "TransferSet",
    "input_bounds",
    "only_penalties",
    "predict",
    "quantize_after_training",
    "require_images",
    "require_no_accounting",
    "require_together",
    "require_words",
    "small_steps",
    "steps_per_epoch",
    "train_side_by_side",
]
