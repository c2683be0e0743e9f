"""`make_stage`: a stage of training, its defenses checked against the hardware and prepared."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from safecompress.config import TrainConfig
from safecompress.errors import ConfigError
from safecompress.protocols import Defense, Rows, TrainingContext
from safecompress.train.arithmetic import Arithmetic
from safecompress.train.batches import Batches
from safecompress.train.engine import Processes
from safecompress.train.loss import TrainingLoss, require_no_accounting
from safecompress.train.own_code import loss_function
from safecompress.train.predict import predict
from safecompress.train.scaler import Scaler
from safecompress.train.stage import Stage
from safecompress.train.transfer_set import TransferSet


def make_stage(
    name: str,
    module: nn.Module,
    rows: Rows,
    *,
    batches: Batches,
    config: TrainConfig,
    seed: int,
    processes: Processes,
    settings: Arithmetic,
    defenses: Sequence[Defense],
    reference: Rows | None,
    validation: Rows | None,
    dense: nn.Module | None,
    soft_labels: Tensor | None,
    transfer: TransferSet | None,
) -> Stage:
    """Return a stage; where a defense asks for it, its batches draw every row independently.

    Args:
        name: name of the stage.
        module: the live module, on the processes' device.
        rows: the rows trained on.
        batches: the batches of these rows.
        config: optimizer and schedule.
        seed: the run's seed.
        processes: the processes that train, and their device.
        settings: precision and memory format.
        defenses: changes to the loss, in order.
        reference: rows for defenses that need non-members.
        validation: rows that steer, for defenses that watch the model on unseen rows.
        dense: the finished dense model, for defenses that compare with it; copied.
        soft_labels: float32 (rows, classes), class probabilities for soft targets.
        transfer: the rows beside those trained on that are in the batches; None without any.

    Raises:
        ConfigError: when a defense is listed twice, lacks its reference rows or the dense model,
            or cannot work on this hardware in this precision.
    """
    context = TrainingContext(
        classes=predict(module, rows.take(torch.arange(1))).classes if defenses else 0,
        steps=batches.total_steps,
        seed=seed,
        reference=reference,
        device=processes.device,
        module=module,
        validation=validation,
        rows=len(rows),
        batch_size=batches.size,
        stage=name,
        members=rows,
        soft_labels=soft_labels,
        dense=None if dense is None else copy.deepcopy(dense).to(processes.device).eval(),
    )
    _require_input_gradients(defenses, processes=processes.world_size, precision=settings.precision)
    if transfer is not None:
        require_no_accounting(defenses)
    objective = TrainingLoss(
        defenses,
        context,
        soft_labels=soft_labels,
        transfer=transfer,
        loss=None if config.loss is None else loss_function(config.loss),
    )
    if objective.samples_alone:
        if objective.own:
            raise ConfigError(
                f"train.loss: '{config.loss}' cannot be used beside a defense that accounts for "
                "the gradient of every single row; leave out one of the two."
            )
        if processes.world_size > 1 or settings.precision != "32-true":
            raise ConfigError(
                "defenses: gradients of single rows need one device and precision 32-true; set "
                "engine.devices: 1 and the stage's precision."
            )
        batches.draw_alone_()
    return Stage(
        name=name,
        module=module,
        config=config,
        seed=seed,
        rank=processes.global_rank,
        device=processes.device,
        memory_format=settings.torch_format,
        batches=batches,
        objective=objective,
        scaler=Scaler(processes),
    )


def _require_input_gradients(
    defenses: Sequence[Defense], *, processes: int, precision: str
) -> None:
    """Raise ConfigError where a defense needs gradients that Fabric's wrapper does not allow."""
    names = [defense.name for defense in defenses if defense.needs_input_gradients]
    if names and processes > 1 and precision != "32-true":
        raise ConfigError(
            f"defenses: {', '.join(names)} look at input gradients, which several "
            "processes can take in precision 32-true alone; set the stage's precision."
        )
