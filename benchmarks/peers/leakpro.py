"""LeakPro (aidotse/LeakPro): LiRA and RMIA, shadow models included.

Its user brings the training loop; this one is a plain PyTorch loop over the loader it hands out.
Scoring calls `run_attack` with what `prepare_attack` would have read from LeakPro's cache.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from leakpro import AbstractInputHandler, LeakPro
from leakpro.schemas import (
    DataLoaderConfig,
    EvalOutput,
    LossConfig,
    MIAMetaDataSchema,
    OptimizerConfig,
    TrainingOutput,
)
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.peers import model
from benchmarks.peers.exercise import TRAINING, Clock, Exercise, Floats, Scoring, run

ASKED: dict[str, dict[str, Any]] = {
    # Below 64 shadow models `carlini` is one deviation for all rows; what is called `fixed` is
    # taken over one row at a time, and so is each row's own.
    "lira-online-fixed": {"attack": "lira", "online": True, "var_calculation": "carlini"},
    "lira-online-own": {"attack": "lira", "online": True, "var_calculation": "fixed"},
    "lira-offline-fixed": {"attack": "lira", "online": False, "var_calculation": "carlini"},
    "lira-offline-own": {"attack": "lira", "online": False, "var_calculation": "fixed"},
    # As RMIA is asked on our side: a population ratio of 1, no softening of probabilities.
    "rmia-online": {"attack": "rmia", "online": True, "gamma": 1.0, "temperature": 1.0},
    "rmia-offline": {
        "attack": "rmia",
        "online": False,
        "gamma": 1.0,
        "temperature": 1.0,
        "offline_a": 0.3,
    },
}
OWN_FROM = 64
"""Shadow models from which on `carlini` gives each row its own variance, too."""


class Handler(AbstractInputHandler):
    """What a user of LeakPro writes."""

    class UserDataset(AbstractInputHandler.UserDataset):
        """Rows in memory."""

        def __init__(self, data: torch.Tensor, targets: torch.Tensor) -> None:
            self.data, self.targets = data, targets

    def train(
        self,
        dataloader: DataLoader[Any],
        model: nn.Module,
        criterion: nn.Module,
        optimizer: torch.optim.Optimizer,
        epochs: int,
    ) -> TrainingOutput:
        """Train with the schedule that all sides share."""
        milestones = [round(share * epochs) for share in TRAINING["milestones"]]
        schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones, TRAINING["gamma"])
        model.train()
        for _ in range(epochs):
            for inputs, labels in dataloader:
                optimizer.zero_grad()
                loss = criterion(model(inputs), labels)
                loss.backward()
                optimizer.step()
            schedule.step()
        return TrainingOutput(model=model, metrics=self.eval(dataloader, model, criterion))

    def eval(self, loader: DataLoader[Any], model: nn.Module, criterion: nn.Module) -> EvalOutput:
        """Return accuracy and loss."""
        model.eval()
        right, loss = 0, 0.0
        with torch.no_grad():
            for inputs, labels in loader:
                said = model(inputs)
                loss += float(criterion(said, labels)) * len(labels)
                right += int((said.argmax(dim=1) == labels).sum())
        rows = len(loader.dataset)
        return EvalOutput(accuracy=right / rows, loss=loss / rows)


def tool(exercise: Exercise, folder: Path, asked: list[dict[str, Any]]) -> LeakPro:
    """Write the files that LeakPro begins with, and begin."""
    logging.disable(logging.INFO)
    (folder / "target").mkdir(parents=True)
    torch.save(exercise.state(), folder / "target" / "target_model.pkl")
    nothing = EvalOutput(accuracy=0.0, loss=0.0)
    metadata = MIAMetaDataSchema(
        train_indices=np.flatnonzero(exercise.target_seen).tolist(),
        test_indices=np.flatnonzero(~exercise.target_seen).tolist(),
        num_train=int(exercise.target_seen.sum()),
        init_params={},
        optimizer=OptimizerConfig(
            name="sgd",
            params={key: TRAINING[key] for key in ("lr", "momentum", "weight_decay")}
            | {"nesterov": True},
        ),
        criterion=LossConfig(name="crossentropyloss", params={}),
        data_loader=DataLoaderConfig(
            params={"batch_size": TRAINING["batch_size"], "shuffle": True}
        ),
        epochs=TRAINING["epochs"],
        train_result=nothing,
        test_result=nothing,
        dataset="location30",
    )
    for name, what in (
        ("target/model_metadata.pkl", metadata),
        ("population.pkl", model.Table(exercise.x, exercise.y)),
    ):
        (folder / name).write_bytes(pickle.dumps(what))
    config = {
        "audit": {
            "attack_type": "mia",
            "attack_list": asked,
            "data_modality": "tabular",
            "output_dir": str(folder / "out"),
        },
        "target": {
            "module_path": str(Path(model.__file__)),
            "model_class": "Perceptron",
            "target_folder": str(folder / "target"),
            "data_path": str(folder / "population.pkl"),
        },
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(config))
    return LeakPro(Handler, str(folder / "audit.yaml"))


def scorings(exercise: Exercise, folder: Path) -> Mapping[str, Scoring]:
    """Return LeakPro's attacks on the given shadow models."""
    count = len(exercise.shadows)
    names = [name for name in ASKED if count < OWN_FROM or not name.endswith("fixed")]
    asked = [ASKED[name] | {"num_shadow_models": count} for name in names]
    made = tool(exercise, folder, asked).attack_scheduler.attacks
    order = made[0].audit_dataset["data"]
    given = {
        "order": order,
        "labels": exercise.y[order],
        "target": exercise.target[order],
        "shadows": [logits[order] for logits in exercise.shadows],
        "outside": ~exercise.seen[:, order],
    }
    return {
        name: partial(score_rmia if "rmia" in name else score_lira, attack, given)
        for name, attack in zip(names, made, strict=True)
    }


def score_lira(attack: Any, given: Mapping[str, Any], exercise: Exercise) -> Floats:
    """Score every row, given logits in memory."""
    del exercise
    attack.fix_var_threshold = 32
    attack.out_indices = given["outside"]
    rescaled = [attack.rescale_logits(z, given["labels"]) for z in given["shadows"]]
    attack.shadow_models_logits = np.array(rescaled)
    attack.target_logits = attack.rescale_logits(given["target"], given["labels"])
    attack.run_attack()
    return in_order(attack, given["order"])


def score_rmia(attack: Any, given: Mapping[str, Any], exercise: Exercise) -> Floats:
    """Score every row, given logits in memory; its population is half of all rows, at random."""
    attack.load_for_optuna = True
    attack.attack_data_indices = np.arange(len(exercise.y))
    attack.out_indices = given["outside"]
    attack.ground_truth_indices = given["labels"]
    attack.logits_theta = given["target"]
    attack.logits_shadow_models = given["shadows"]
    attack.shadow_models = [None] * len(given["shadows"])
    attack.prepare_attack()
    attack.run_attack()
    return in_order(attack, given["order"])


def in_order(attack: Any, order: Floats) -> Floats:
    """Return the attack's scores in the order of the rows."""
    scores = np.empty(len(order))
    said = np.concatenate([attack.in_member_signals, attack.out_member_signals])
    scores[order] = said.ravel()
    return scores


def whole(
    exercise: Exercise, count: int, seed: int, folder: Path
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Train the shadow models and score every row."""
    np.random.seed(seed)
    torch.manual_seed(seed)
    lira = "lira-online-own" if count >= OWN_FROM else "lira-online-fixed"
    names = (lira, "rmia-online", "rmia-offline")
    asked = [ASKED[name] | {"num_shadow_models": count} for name in names]
    scores = {}
    with Clock() as training:
        attacks = tool(exercise, folder, asked).attack_scheduler.attacks
        # The first attack trains the shadow models, the others find them.
        attacks[0].prepare_attack()
    with Clock() as scoring:
        for name, attack in zip(names, attacks, strict=True):
            if attack is not attacks[0]:
                attack.prepare_attack()
            attack.run_attack()
            scores[name] = in_order(attack, attack.audit_dataset["data"])
    return {"training": training.read(), "scoring": scoring.read()}, scores


if __name__ == "__main__":
    run(scorings, whole)
