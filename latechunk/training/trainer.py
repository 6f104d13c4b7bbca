"""The trainer of sentence-transformers, adapted to batches that we make and to checkpoints of adapters alone."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from torch.utils.data import BatchSampler, SequentialSampler
from transformers import PrinterCallback, ProgressCallback, TrainerCallback

from latechunk.errors import InputError
from latechunk.training.batches import BatchCollator, MakeBatch
from latechunk.training.lora import TrainableAdapters
from latechunk.training.loss import SpanContrastiveLoss
from latechunk.training.settings import RunSettings

_BANK = "bank.safetensors"
_LOG_STEPS = 10
OnEvent = Callable[[Mapping[str, float], int], None]


class AdapterTrainer(SentenceTransformerTrainer):
    """Trains adapters; its checkpoints hold them and the loss's memory bank, never the base model."""

    def __init__(
        self,
        model: SentenceTransformer,
        adapters: TrainableAdapters,
        loss: torch.nn.Module,
        make: MakeBatch,
        settings: RunSettings,
        folder: Path,
        *,
        evaluator: SentenceEvaluator | None,
        on_log: OnEvent,
    ) -> None:
        """Set up a run in ``folder``; each row of its dataset is the number of a batch."""
        self._adapters = adapters
        self._bank_loss = loss if isinstance(loss, SpanContrastiveLoss) else None
        super().__init__(
            model=model,
            args=training_arguments(settings, folder, model.device, with_evaluation=evaluator is not None),
            train_dataset=Dataset.from_dict({"batch": list(range(settings.n_steps))}),
            loss=loss,
            evaluator=evaluator,
            data_collator=BatchCollator(make),
            callbacks=[_Reporter(on_log)],
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_batch_sampler(  # type: ignore[override]  # the rest of its arguments is not looked at
        self, dataset: Any, batch_size: int, drop_last: bool, **_: Any
    ) -> BatchSampler:
        """Batches in their order: the trainer would shuffle them, and tear apart what was drawn in a row."""
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    def collect_features(  # type: ignore[override]  # its labels are one tensor, ours are several
        self, inputs: dict[str, Any]
    ) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
        """The features of a batch as the collator made them, in place of columns of texts."""
        return inputs["features"], inputs["labels"]

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """One step; InputError where the loss is no number any more, which the trainer would log as 0 and go on."""
        loss: torch.Tensor = super().training_step(*args, **kwargs)
        if not loss.isfinite():
            raise InputError(
                f"training diverges: after {self.state.global_step} steps the loss is {loss.item()}; train in another "
                f"folder with a smaller --learning-rate than {self.args.learning_rate:g}"
            )
        return loss

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """No card of the trainer's: a run of ours writes its own."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._save_checkpoint(*args, **kwargs)
        except RuntimeError as error:  # what torch makes of a disk that is full
            raise OSError(f"a checkpoint could not be written: {error}") from error

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002  the trainer's
        folder = Path(output_dir or str(self.args.output_dir))
        self._adapters.save(folder, dtype=torch.float32)
        if self._bank_loss:
            save_file(self._bank_loss.bank_state(), folder / _BANK)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002
        folder = Path(resume_from_checkpoint)
        self._adapters.load(folder)
        if self._bank_loss:
            self._bank_loss.load_bank(load_file(folder / _BANK))


@contextmanager
def writing_explained(folder: Path) -> Iterator[None]:
    """Within this, an InputError says what to do where a run cannot write into its folder."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"training cannot write into {folder}: {error}; free some space or mend the rights, and the same command "
            f"with --resume continues"
        ) from error


def training_arguments(
    settings: RunSettings, folder: Path, device: torch.device, *, with_evaluation: bool
) -> SentenceTransformerTrainingArguments:
    """The trainer's own settings for a run; InputError if the model is on a device that the trainer does not take."""
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        max_steps=settings.n_steps,
        per_device_train_batch_size=1,  # a row is a batch
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        seed=settings.seed,
        eval_strategy="steps" if with_evaluation and settings.evaluate_steps else "no",
        eval_steps=settings.evaluate_steps or None,
        save_strategy="steps",
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=min(_LOG_STEPS, max(1, settings.n_steps // _LOG_STEPS)),
        logging_first_step=True,
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        use_cpu=device.type == "cpu",
    )
    vars(arguments)["_n_gpu"] = min(1, arguments.n_gpu)  # else it spreads a batch over all GPUs that it sees
    if arguments.device.type != device.type or (device.index or 0) != (arguments.device.index or 0):
        raise InputError(
            f"training runs on {arguments.device} here, and the encoder is on {device}; choose a GPU with the "
            f'environment variable CUDA_VISIBLE_DEVICES, and load the encoder with device="cuda"'
        )
    return arguments


def require_device(device: torch.device) -> None:
    """Raise InputError unless the trainer takes a device, before anything is read or computed for it."""
    training_arguments(RunSettings(), Path(), device, with_evaluation=False)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint of a run, None if there is none.

    The trainer writes its state last, but a power cut may take the end of any file.
    """
    found = [path for path in folder.glob("checkpoint-*") if _is_whole(path)]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        for path in folder.rglob("*.safetensors"):
            with safe_open(path, framework="pt"):  # compares the header with the file's size
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    return all(zipfile.is_zipfile(path) for path in folder.glob("*.pt*"))


class _Reporter(TrainerCallback):
    """Passes on what the trainer logs."""

    def __init__(self, on_log: OnEvent) -> None:
        self._on_log = on_log

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """After each step."""
        self._on_log({}, state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Whenever figures are logged."""
        figures = {name: value for name, value in (kwargs.get("logs") or {}).items() if isinstance(value, float)}
        self._on_log(figures, state.global_step)
