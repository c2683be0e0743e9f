"""`Trainer`: training as a function of a candidate and a number of steps."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from safecompress.candidate import Candidate
from safecompress.config import EngineConfig, TrainConfig
from safecompress.errors import NonFiniteError
from safecompress.models.words import words_of
from safecompress.protocols import Defense, Internals, Outputs, Rows
from safecompress.topology import Topology
from safecompress.train.arithmetic import Arithmetic
from safecompress.train.batches import Batches
from safecompress.train.engine import Alone, MixedPrecision, device_of, launched, trains_alone
from safecompress.train.exchange import Exchange
from safecompress.train.gradient import backward_once_, mean_gradient
from safecompress.train.internals import internals
from safecompress.train.loss import only_penalties
from safecompress.train.make_stage import make_stage
from safecompress.train.memory import kept_memory
from safecompress.train.optimizers import make_optimizer
from safecompress.train.parameter_groups import parameter_rules
from safecompress.train.predict import predict
from safecompress.train.probe import choose_arithmetic
from safecompress.train.progress import OnProgress, Reporter
from safecompress.train.sparse_layers import (
    SparseLayerChoice,
    SparseLayers,
)
from safecompress.train.stage import Stage
from safecompress.train.together import small_steps, train_stack, worth_stacking
from safecompress.train.transfer_set import TransferSet
from safecompress.train.underway import Underway
from safecompress.train.workbench import Workbench


class Trainer:
    """Trains candidates of one model in one stage.

    There is one live module, and every method first copies a candidate's tensors into it. Batches,
    augmentation and dropout depend on (seed, stage, step) alone, so cutting a stage into pieces
    changes no bit, and candidates at the same step train on the same batch. Tensors of candidates
    are on the CPU.

    Under several processes (as `torchrun` starts them) every batch is shared out, gradients are
    averaged, and every process returns the same candidate.

    Args:
        module: the model; moved to the engine's device and memory format.
        rows: the rows trained on.
        config: the stage's length, batches, optimizer and schedule.
        seed: the run's seed.
        engine: accelerator and devices.
        stage: name of the stage, mixed into every seed; stages with the same name and seed see
            the same batches.
        defenses: changes to the loss, in order.
        reference: rows for defenses that need non-members.
        validation: rows that steer, for defenses that watch the model on unseen rows.
        dense: the finished dense model, for defenses that compare with it.
        soft_labels: float32 (rows, classes), class probabilities for soft targets.
        transfer: rows that take the places of a share of every batch, trained towards their soft
            labels alone; needs `soft_labels`.
        track_moving_average: keep a moving average of dense gradients per maskable parameter.
        settings: precision and memory format, as recorded earlier; by default those of the
            configuration, chosen by rule or by timing where it leaves that open.
        typical: a mask like those that will be trained, for that choice; by default all weights
            exist.
        on_progress: called at most every 0.2 s.

    Raises:
        ConfigError: when hardware, data and configuration do not fit together.
        DataError: when there are no rows.
    """

    def __init__(
        self,
        module: nn.Module,
        rows: Rows,
        config: TrainConfig,
        *,
        seed: int,
        engine: EngineConfig,
        stage: str = "train",
        defenses: Sequence[Defense] = (),
        reference: Rows | None = None,
        validation: Rows | None = None,
        dense: nn.Module | None = None,
        soft_labels: Tensor | None = None,
        transfer: TransferSet | None = None,
        track_moving_average: bool = False,
        settings: Arithmetic | None = None,
        typical: Topology | None = None,
        on_progress: OnProgress | None = None,
    ) -> None:
        device = device_of(engine)
        module.to(device)
        self._module, self._track = module, track_moving_average
        self._sparse_choice = SparseLayerChoice()
        # The choice looks at whole batches, so several processes share them only afterwards.
        batches = Batches(
            rows,
            config,
            seed=seed,
            stage=stage,
            device=device,
            transfer=transfer,
            words=words_of(module),
        )
        sparsely = typical is not None and not track_moving_average and only_penalties(defenses)
        self.settings = settings or choose_arithmetic(
            module,
            batches,
            config,
            device=device,
            total_steps=batches.total_steps,
            topology=typical if sparsely and trains_alone(engine) else None,
        )
        self._bench = Workbench(module, self.settings.torch_format)
        self._processes = launched(engine, precision=self.settings.precision)
        self._rank, self._ranks = self._processes.global_rank, self._processes.world_size
        batches.share_(rank=self._rank, ranks=self._ranks)
        rules = parameter_rules(config, module)
        self._optimizer = make_optimizer(config, self._bench.parameters, rules)
        self._uniform = not rules
        self._losses = torch.zeros(1)
        self._stepper: torch.optim.Optimizer
        wrapped, self._stepper = self._processes.setup(module, self._optimizer)
        self._alone = self._ranks == 1 and self.settings.precision == "32-true"
        self._model: nn.Module = wrapped
        if self._alone:
            # In fp32 Fabric's wrapper does nothing, but takes a tenth of a small step.
            self._model = module
        elif self._ranks == 1 and not isinstance(self._processes, Alone):
            self._model = MixedPrecision(module, self._processes)
        self._reporter = Reporter(
            on_progress, stage=stage, total=batches.total_steps, rows=batches.size
        )
        self._stage = make_stage(
            stage,
            module,
            rows,
            batches=batches,
            config=config,
            seed=seed,
            processes=self._processes,
            settings=self.settings,
            defenses=defenses,
            reference=reference,
            validation=validation,
            dense=dense,
            soft_labels=soft_labels,
            transfer=transfer,
        )
        self._exchange = Exchange(
            stage=self._stage,
            bench=self._bench,
            optimizer=self._optimizer,
            processes=self._processes,
            track=track_moving_average,
        )

    @property
    def module(self) -> nn.Module:
        """The live module, which holds whatever candidate was used last."""
        return self._module

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch; rows that do not fill a last batch are left out of that epoch."""
        return self._stage.batches.steps_per_epoch

    @property
    def total_steps(self) -> int:
        """Steps of the whole stage."""
        return self._stage.batches.total_steps

    @property
    def mean_losses(self) -> list[float]:
        """Mean losses over the steps of the last training, one a candidate, for curves."""
        losses: list[float] = self._losses.mean(dim=0).reshape(-1).tolist()
        return losses

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step of the stage.

        Args:
            step: the step, from 0.
        """
        return self._stage.learning_rate(step)

    def start(
        self, topology: Topology | None = None, *, weights: Mapping[str, Tensor] | None = None
    ) -> Candidate:
        """Return a candidate at step 0.

        Args:
            topology: which weights exist, all by default; the others become zero.
            weights: a state_dict; by default the module's weights as they are now.
        """
        return self._exchange.fresh(topology or Topology.dense(self._module), weights)

    def module_of(self, candidate: Candidate) -> nn.Module:
        """Return a copy of the module that holds exactly this candidate, in evaluation mode.

        Args:
            candidate: a candidate of this module.

        Raises:
            ModelError: when the candidate belongs to another model.
        """
        self.load_(candidate)
        return copy.deepcopy(self._module).eval()

    def load_(self, candidate: Candidate) -> None:
        """Copy a candidate into the live module, which then computes what the candidate computes.

        Weights that do not exist are zero there, and quantized ones rounded.

        Args:
            candidate: a candidate of this module.

        Raises:
            ModelError: when the candidate belongs to another model.
        """
        self._bench.put_(candidate)

    def outputs(self, candidate: Candidate, rows: Rows) -> Outputs:
        """Return the candidate's outputs on `rows`, in evaluation mode and fp32.

        Args:
            candidate: a candidate of this module.
            rows: n rows, on any device.

        Raises:
            NonFiniteError: when a logit is NaN or infinite.
        """
        self.load_(candidate)
        return predict(self._module, rows)

    def internals(self, candidate: Candidate, rows: Rows) -> Internals:
        """Return the candidate's last features and the norms of each row's gradients.

        Args:
            candidate: a candidate of this module.
            rows: n rows, on any device.

        Raises:
            NonFiniteError: when a logit or a gradient is NaN or infinite.
            ModelError: when the model calls no linear or convolution layer.
        """
        self.load_(candidate)
        return internals(self._module, rows)

    def train(self, candidate: Candidate, steps: int) -> Candidate:
        """Return the candidate after `steps` more steps; the one given is left untouched.

        Args:
            candidate: a candidate of this module.
            steps: number of steps; 0 or less returns the candidate itself.

        Raises:
            NonFiniteError: when the loss or a weight became NaN or infinite; names the step.
        """
        if steps <= 0:
            return candidate
        underway = self.begin(candidate, steps)
        losses = underway.losses
        self._reporter.begin()
        with kept_memory(), underway.training():
            for index in range(steps):
                self._processes.backward(underway.loss_(index))
                underway.before_()
                self._stepper.step()
                underway.after_()
                if self._reporter.due():
                    self._report(losses[: index + 1], candidate.step)
        trained = underway.collected()
        if trained.step >= self.total_steps:
            self._reporter.report(losses, step=trained.step)
        return trained

    def begin(self, candidate: Candidate, steps: int) -> Underway:
        """Load a candidate, so that it can be trained step by step.

        Args:
            candidate: a candidate of this module.
            steps: steps that will be taken, at least 1.
        """
        self._exchange.restore_(candidate)
        self._losses = torch.zeros(steps, device=self._processes.device)
        return Underway(
            stage=self._stage,
            bench=self._bench,
            exchange=self._exchange,
            optimizer=self._optimizer,
            model=self._model,
            candidate=candidate,
            active=self._bench.active(candidate),
            averages=self._exchange.averages(candidate),
            sparsely=self._sparse_layers(candidate),
            losses=self._losses,
        )

    @property
    def joint(self) -> Stage | None:
        """The stage, where its steps can be taken in one with those of other trainers.

        None in another precision than fp32, under several processes, where parameters have rules of
        their own, and with defenses that read weights, change gradients or have a state.
        """
        apart = not self._alone or not self._uniform
        return None if apart or not self._stage.objective.only_penalties else self._stage

    def trains_together(self, candidates: Sequence[Candidate]) -> bool:
        """Return whether `train_together` can train these candidates, and takes less time.

        The size of a step decides, and no timing does, so that a repeated run does the same
        arithmetic.

        Args:
            candidates: at least one.
        """
        return self.stacks and worth_stacking(self._stage, candidates, self._bench.parameters)

    @property
    def stacks(self) -> bool:
        """Whether any candidates would be trained as one stack here, whatever they are."""
        return (
            self._alone
            and self._uniform
            and not self._track
            and small_steps(self._stage, self._bench.parameters)
        )

    def train_together(
        self, candidates: Sequence[Candidate], steps: int
    ) -> list[Candidate | NonFiniteError]:
        """Return the candidates after `steps` more steps, trained as one stack.

        The results are those of `train` but for rounding: sums are taken in another order. Where a
        loss or a weight of a candidate became NaN or infinite, its place holds the error that
        `train` would have raised.

        Args:
            candidates: those that `trains_together`, all at the same step.
            steps: at least 1.

        Raises:
            StackError: when the module's code cannot run for several candidates at once.
        """
        self._bench.clear_()
        self._reporter.begin()
        self._losses = torch.zeros(steps, len(candidates), device=self._processes.device)
        return train_stack(self._stage, candidates, self._bench.parameters, losses=self._losses)

    def gradient(self, candidate: Candidate, batches: int) -> dict[str, Tensor]:
        """Return the mean gradient of the training loss, dense and in fp32.

        Args:
            candidate: where the gradient is taken.
            batches: number of batches averaged, those the candidate would train on next.

        Returns:
            Per maskable parameter a CPU tensor of its shape. It holds the gradients of weights that
            do not exist as well; weight decay adds nothing to it.
        """
        self._exchange.restore_(candidate)
        return mean_gradient(
            self._stage, candidate.step, batches=batches, processes=self._processes
        )

    def _sparse_layers(self, candidate: Candidate) -> SparseLayers:
        """Return the layers that compute with their existing weights alone in this stage.

        Layers stay dense where something reads whole weights or their gradients: moving averages,
        some defenses, the wrappers of mixed precision and of several processes, or a model that
        uses a layer's weight without calling the layer.
        """
        if self._track or not self._stage.objective.only_penalties or not self._alone:
            return {}
        layers = self._sparse_choice.among(
            self._bench.sparse_layers(candidate),
            lambda: backward_once_(self._stage, candidate.step),
        )
        self._bench.forget_gradients_()
        return layers

    def _report(self, losses: Tensor, first: int) -> None:
        if self._ranks == 1:
            self._stage.require_finite(losses, first, weights=False)
        self._reporter.report(losses, step=first + len(losses))
