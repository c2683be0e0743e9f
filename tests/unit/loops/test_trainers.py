"""Hugging Face's Trainer and Lightning with the callback: verdicts, logs, the same bits again."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from safecompress import Splits, load
from safecompress.errors import MembershipError
from safecompress.protocols import Rows

FEW_CHECKS = {
    "checks": [
        {"measure": {"attack": {"attack": "loss", "metric": "auc"}}, "condition": {"at_most": 0.6}}
    ]
}
SPARSE = {"sparse": {"density": 0.3, "rounds": 2}, "verdict": FEW_CHECKS}
EPOCHS = 3


def token_splits(n: int = 48, length: int = 6) -> Splits:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 20, (2 * n, length), generator=generator)
    labels = (ids[:, 0] > 10).long()
    members = Rows(ids[:n], labels[:n], torch.arange(n))
    others = Rows(ids[n:], labels[n:], torch.arange(n, 2 * n))
    return Splits.from_rows(members, others, classes=2, seed=0)


def table_splits(n: int = 64) -> Splits:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2 * n, 8, generator=generator)
    y = (x[:, 0] > 0).long()
    members = Rows(x[:n], y[:n], torch.arange(n))
    return Splits.from_rows(members, Rows(x[n:], y[n:], torch.arange(n, 2 * n)), classes=2, seed=0)


def bits(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict())


def same(one: nn.Module, other: nn.Module) -> bool:
    first, second = bits(one), bits(other)
    return all(torch.equal(first[name], second[name]) for name in first)


class Stop(Exception):
    """Stands for a kill."""


class TestHuggingFace:
    @staticmethod
    def trainer(folder: Path, run: str, splits: Splits, **options: Any) -> Any:
        transformers = pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        from safecompress.loops.hugging_face import SafeCompressCallback

        torch.manual_seed(0)
        config = transformers.BertConfig(
            **{"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 1},
            **{"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 8},
        )
        model = transformers.BertForSequenceClassification(config)
        members = options.pop("rows", splits.members)
        rows = [
            {"input_ids": ids, "labels": label}
            for ids, label in zip(members.inputs, members.labels, strict=True)
        ]
        callback = SafeCompressCallback(splits, SPARSE, out=folder / run, **options)
        args = transformers.TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            num_train_epochs=EPOCHS,
            per_device_train_batch_size=12,
            gradient_accumulation_steps=2,
            learning_rate=3e-3,
            save_strategy="epoch",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        return transformers.Trainer(model, args, train_dataset=rows, callbacks=[callback]), callback

    def test_an_interrupted_training_ends_in_the_same_bits(self, tmp_path: Path) -> None:
        splits = token_splits()
        whole, callback = self.trainer(tmp_path / "a", "run", splits)
        whole.train()
        first = callback.run
        assert first is not None
        assert first.verdict.status in {"PASS", "FAIL", "INCONCLUSIVE"}
        logged = [line for line in whole.state.log_history if "safecompress/loss.auc" in line]
        assert len(logged) == EPOCHS
        broken, held = self.trainer(tmp_path / "b", "run", splits)
        held.on_epoch_begin = lambda args, state, control, **_: _stop_at(state, 2)
        with pytest.raises(Stop):
            broken.train()
        held.loop.close()
        resumed, callback = self.trainer(tmp_path / "b", "run", splits)
        resumed.train(resume_from_checkpoint=True)
        second = callback.run
        assert same(first.model, second.model)
        history = [
            (p / "history.jsonl").read_text().splitlines() for p in (first.folder, second.folder)
        ]
        assert [_untimed(line) for line in history[0]] == [_untimed(line) for line in history[1]]

    def test_rows_that_are_held_out_are_found(self, tmp_path: Path) -> None:
        splits = token_splits()
        wrong, _ = self.trainer(tmp_path, "run", splits, rows=splits.steer.nonmembers)
        with pytest.raises(MembershipError, match="held out"):
            wrong.train()


def _stop_at(state: Any, epoch: int) -> None:
    if state.epoch and round(state.epoch) == epoch:
        raise Stop


def _untimed(line: str) -> dict[str, Any]:
    return {k: v for k, v in json.loads(line).items() if k != "seconds"}


class TestLightning:
    @staticmethod
    def trained(
        folder: Path,
        splits: Splits,
        *,
        resume: str | None = None,
        stop: bool = False,
        **options: Any,
    ) -> Any:
        lightning = pytest.importorskip("lightning.pytorch")
        from safecompress.loops.lightning import SafeCompressCallback

        class Net(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))

            def training_step(self, batch: Any, index: int) -> Tensor:
                if stop and self.current_epoch == 2:
                    raise Stop
                return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)

        torch.manual_seed(0)
        callback = SafeCompressCallback(splits, SPARSE, out=folder / "run", **options)
        rows = splits.members
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(rows.inputs, rows.labels), batch_size=16, num_workers=0
        )
        trainer = lightning.Trainer(
            default_root_dir=folder,
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=lightning.loggers.CSVLogger(folder),
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[callback, lightning.callbacks.ModelCheckpoint(folder / "ck", save_top_k=-1)],
        )
        trainer.fit(Net(), loader, ckpt_path=resume)
        return callback, trainer

    @pytest.mark.filterwarnings("ignore")
    def test_an_interrupted_training_ends_in_the_same_bits(self, tmp_path: Path) -> None:
        splits = table_splits()
        whole, trainer = self.trained(tmp_path / "a", splits)
        assert "safecompress/loss.auc" in trainer.logged_metrics
        with pytest.raises(Stop):
            self.trained(tmp_path / "b", splits, stop=True)
        last = max((tmp_path / "b" / "ck").glob("epoch=1*.ckpt"))
        resumed, _ = self.trained(tmp_path / "b", splits, resume=str(last))
        assert same(whole.run.model, resumed.run.model)
        make = lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))  # noqa: E731
        assert same(load(resumed.run.folder, model=make), whole.run.model)
