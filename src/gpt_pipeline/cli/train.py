"""`gpt-pipeline train`: builds a run from the config, in reading order, and runs its loop."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from gpt_pipeline.checkpoint import Checkpoint, CheckpointStore
from gpt_pipeline.cli.checkpoint import run_name
from gpt_pipeline.cli.console import for_standard_output, log, log_to_stderr
from gpt_pipeline.cli.data import prepare_data, training_data
from gpt_pipeline.cli.evaluate import describe
from gpt_pipeline.cli.progress import TrainingProgress
from gpt_pipeline.cli.resume import checkpoint_to_resume, tokens_to_keep, warn_of_changes
from gpt_pipeline.cli.signals import stop_signals
from gpt_pipeline.config import Config
from gpt_pipeline.config.compose import Composed, compose, write_run_files
from gpt_pipeline.dataset import TrainingSet, ValidationSet
from gpt_pipeline.display import count
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.inference import check_prompt_length, one_sample
from gpt_pipeline.metrics import training_flops_per_token
from gpt_pipeline.model import GPTModel
from gpt_pipeline.planning import (
    choose_micro_batch,
    is_auto,
    out_of_memory_as_user_error,
    out_of_memory_error,
    without_auto,
)
from gpt_pipeline.runtime.device import set_up_torch, should_compile, torch_settings_restored
from gpt_pipeline.runtime.precision import training_precision
from gpt_pipeline.tokenizer import Tokenizer
from gpt_pipeline.tracking.run_folder import PROFILE, RunFolder, own_folder
from gpt_pipeline.training import (
    Hooks,
    ResidentWindows,
    StepReport,
    StepTrace,
    Trainer,
    TrainingWindows,
    fits,
    new_model,
)


@dataclass(frozen=True)
class TrainResult:
    """How a run, or a session of it, ended.

    Attributes:
        finished: whether the run is complete; a signal may have stopped it earlier.
        step: optimizer steps done.
        checkpoint: the newest checkpoint; None if no step was done.
        run_dir: the run folder, with metrics, plots, samples and log.
        validation: loss (nats per token), perplexity, accuracy, bits_per_byte, tokens and bytes
            over every validation token, with the entropy floor if it is known; None without
            validation data, and if the run is not complete.
        sample: the prompt and a text generated from it; None if the run is not complete.
        exit_code: of the command: 0, or 128 plus the number of the signal that stopped the run.
    """

    finished: bool
    step: int
    checkpoint: Path | None
    run_dir: Path
    validation: Mapping[str, float] | None
    sample: str | None
    exit_code: int


def command(overrides: Sequence[str]) -> int:
    """Train, print the validation figures and a sample, and return the exit code."""
    log_to_stderr()
    result = train(overrides)
    if result.validation is not None:
        print(describe(result.validation))
    if result.sample is not None:
        print(f"\n{for_standard_output(result.sample)}\n")
    return result.exit_code


def train(overrides: Sequence[str]) -> TrainResult:
    """Train a run to its end or until a signal stops it; resume it if it has a checkpoint.

    Signals stop a run in the main thread only. Afterwards torch has the number of threads and the
    deterministic mode that it had before; its random generators are not restored.

    Args:
        overrides: as on the command line, for example `["model=tiny", "schedule.max_steps=100"]`.

    Raises:
        UserError: an error that the user can correct, such as a wrong override.
    """
    with out_of_memory_as_user_error(), torch_settings_restored():
        composed = compose(overrides)
        _refuse_secrets(composed.config)
        composed.config.check_trainable()
        return _prepare_and_train(composed)


def set_up_measuring() -> None:
    """Set up a process that measures a run (`planning.measured`).

    The process imports this module to call it, and therefore holds the libraries that a run holds.
    """
    log_to_stderr()


def _refuse_secrets(config: Config) -> None:
    """Refuse secrets, because the config is stored in the run folder."""
    if config.serve.api_key is not None:
        raise ConfigError(
            ["serve.api_key must be null in train, which would store it in the run folder; "
             "set it in serve"]
        )  # fmt: skip


def _prepare_and_train(composed: Composed) -> TrainResult:
    device = set_up_torch(composed.config.runtime)
    prepared = prepare_data(composed.config, keep=tokens_to_keep(composed))
    tokenizer = prepared.tokenizer
    config = without_auto(composed).replace(
        {
            "model.vocab_size": tokenizer.vocab_size,
            "model.checkpoint_name": run_name(composed),
            "block.eot_id": _eot_id(composed.config, tokenizer),
        }
    )
    _check_prompt(config, tokenizer)
    length, runtime = config.model.max_length, config.runtime
    file = training_data(prepared, config)
    train = _on_device(file, config, device)
    val = ValidationSet.open(prepared.val, length) if prepared.val else None

    store = CheckpointStore(
        root=Path(config.model.checkpoint_path),
        name=run_name(composed),
        config=config,
        tokenizer=tokenizer,
        data_fingerprint=file.sidecar.sha256,
        val_data_fingerprint=val.sidecar.sha256 if val else None,
        train_documents=file.sidecar.documents,
    )
    with store.lock():
        checkpoint = checkpoint_to_resume(store)
        config = choose_micro_batch(
            config, checkpoint, device, auto=is_auto(composed.config), set_up=set_up_measuring
        )
        store = replace(store, config=config)
        if checkpoint is not None:
            warn_of_changes(checkpoint, store)
        precision = training_precision(runtime, device)
        trainer = Trainer(new_model(config, device), train, val, store=store, precision=precision)
        if checkpoint is not None:
            trainer.resume(checkpoint)
        with own_folder(composed, config, trainer.state.run_dir) as path:
            folder = _open_folder(path, composed, trainer, val)
            with folder.log():
                return _Run(trainer, folder, tokenizer, val).start(checkpoint)


def _on_device(file: TrainingSet, config: Config, device: torch.device) -> TrainingWindows:
    """The training windows, in the GPU's memory if they fit."""
    tokens = file.windows.tokens
    if not fits(tokens, device):
        return file
    length, eot_id = config.model.max_length, file.sidecar.eot_id
    return ResidentWindows(file, tokens, max_length=length, eot_id=eot_id, device=device)


def _eot_id(config: Config, tokenizer: Tokenizer) -> int:
    configured, actual = config.block.eot_id, tokenizer.eot_id
    if configured not in (None, actual):
        raise ConfigError(
            [
                f"block.eot_id must be null or the tokenizer's end-of-text, {actual}; "
                f"got {configured}"
            ]
        )
    return actual


@dataclass(frozen=True)
class _Run:
    """A run with its folder and its data."""

    trainer: Trainer
    folder: RunFolder
    tokenizer: Tokenizer
    val: ValidationSet | None

    def start(self, checkpoint: Checkpoint | None) -> TrainResult:
        """Train, unless the checkpoint is that of a complete run."""
        if _announce(self.trainer, checkpoint):
            if self._compiles():
                self.trainer.compile(required=self.trainer.config.runtime.compile is True)
            exit_code = self._train()
            if exit_code != 0:
                return self._result(exit_code=exit_code)
        return self._conclude()

    def _compiles(self) -> bool:
        config = self.trainer.config
        tokens = self.trainer.length.num_windows * config.model.max_length
        return should_compile(
            config.runtime,
            self.trainer.precision.device,
            flops=training_flops_per_token(self.trainer.model) * tokens,
            minutes=config.schedule.max_minutes,
        )

    def _train(self) -> int:
        """Run the loop with progress display, samples and plots; return the exit code."""
        trainer, folder = self.trainer, self.folder
        config, state, length = trainer.config, trainer.state, trainer.config.logging.sample_tokens

        def evaluated(step: int, model: GPTModel) -> None:
            if length > 0 and not request.stop():
                text = self._sample(max_new_tokens=length)
                if text is not None:
                    log.info("step %d, sample: %s", step, " ".join(text.split()))
            folder.draw(at_once=False)

        def stepped(report: StepReport) -> None:
            with folder.best_effort.to("show the progress"):
                progress.show(report)
            if trace is not None:
                trace.stepped(report.step)

        progress = TrainingProgress(trainer.length.last_step(state), done=state.step)
        with (
            stop_signals() as request,
            folder.metrics(step=state.step, lines=state.metrics_lines) as metrics,
        ):
            with progress, self._trace() as trace:
                hooks = Hooks(stepped, evaluated, request.stop, request.interrupt)
                outcome = trainer.run(metrics, hooks)
            if outcome.finished:
                folder.draw()
                return 0
            if outcome.out_of_memory is not None:
                folder.draw()
                device = trainer.precision.device
                raise out_of_memory_error(config, outcome, device, set_up=set_up_measuring)
            newest = outcome.checkpoint
            saved = f"saved {newest.path}" if newest else "no step was completed"
            log.info("stopped at step %d; %s", state.step, saved)
            again = "the same command"
            if config.checkpoint.resume == "never":
                again += " without checkpoint.resume=never"
            log.info("to resume, run %s", again)
            folder.draw()
            return request.exit_code

    def _trace(self) -> AbstractContextManager[StepTrace | None]:
        """A profile of the first steps, if runtime.profile is set."""
        if not self.trainer.config.runtime.profile:
            return nullcontext()
        device, step = self.trainer.precision.device, self.trainer.state.step
        return StepTrace(self.folder.path / PROFILE, device, step=step)

    def _sample(self, *, max_new_tokens: int) -> str | None:
        """Generate a sample and add it to the run folder; None if it failed, with a warning."""
        trainer, config = self.trainer, self.trainer.config
        sampling = replace(
            config.sampler(),
            max_new_tokens=max_new_tokens,
            add_bos_token=config.sampling.add_bos_token and trainer.store.trained_with_eot,
        )
        with self.folder.best_effort.to("write a sample"):
            text = one_sample(
                trainer.model, self.tokenizer, config.model.prompt, sampling, config.runtime.seed
            )
            self.folder.add_sample(trainer.state.step, text)
            return text
        return None

    def _conclude(self) -> TrainResult:
        """Log where the files are, and return the figures and a sample."""
        trainer, validation = self.trainer, None
        log.info("plots, samples and metrics: %s", self.folder.path)
        log.info("checkpoint: %s", trainer.checkpoint.path if trainer.checkpoint else "none")
        if trainer.state.validation is not None and self.val is not None:
            validation = trainer.state.validation | self.val.floor()
        with trainer.evaluation_weights():
            sample = self._sample(max_new_tokens=trainer.config.model.max_new_tokens)
        return self._result(exit_code=0, validation=validation, sample=sample)

    def _result(
        self,
        *,
        exit_code: int,
        validation: Mapping[str, float] | None = None,
        sample: str | None = None,
    ) -> TrainResult:
        checkpoint = self.trainer.checkpoint
        return TrainResult(
            finished=self.trainer.state.finished,
            step=self.trainer.state.step,
            checkpoint=checkpoint.path if checkpoint else None,
            run_dir=self.folder.path,
            validation=validation,
            sample=sample,
            exit_code=exit_code,
        )


def _check_prompt(config: Config, tokenizer: Tokenizer) -> None:
    number = len(tokenizer.encode(config.model.prompt))
    check_prompt_length(number, config.model.max_length, "model.prompt")


def _open_folder(
    path: Path, composed: Composed, trainer: Trainer, val: ValidationSet | None
) -> RunFolder:
    """Write the config into the run folder, and drop samples of steps that will be repeated."""
    state = trainer.state
    state.run_dir = str(path)
    folder = RunFolder(
        path,
        entropy_floor=val.floor_loss if val else None,
        plot_every_s=trainer.config.logging.plot_every_s,
    )
    folder.drop_samples_beyond(state.step)
    try:
        write_run_files(composed, trainer.config, folder.path)
    except OSError as error:
        raise UserError(f"cannot write to {folder.path}: {error.strerror or error}") from error
    return folder


def _announce(trainer: Trainer, checkpoint: Checkpoint | None) -> bool:
    """Log what the run will do; False if the run is already complete."""
    config, length, state = trainer.config, trainer.length, trainer.state
    m, number = config.model, trainer.model.num_parameters()
    log.info(
        "model: %s parameters (%d layers, %d heads, %d wide, context %d, vocabulary %s); "
        "weights, gradients and optimizer take %s",
        count(number), m.num_layers, m.num_heads, m.embed_dim, m.max_length,
        f"{m.vocab_size:,}", count(config.optimizer.training_bytes(trainer.model)) + "B",
    )  # fmt: skip
    log.info(
        "batch: %d windows x %d tokens x %d accumulated = %s tokens per step",
        m.micro_batch_size, m.max_length, m.grad_accumulation, f"{length.tokens_per_step:,}",
    )  # fmt: skip
    decay = "" if config.schedule.name == "constant" else f", then decay to {m.min_lr:g}"
    log.info(
        "learning rate: %s, %d warm-up steps to %g%s; optimizer: %s",
        config.schedule.name, m.warmup_steps, m.learning_rate, decay, config.optimizer.name,
    )  # fmt: skip
    limit = config.schedule.max_minutes
    log.info(
        "run: %s steps, %s tokens%s, in %s",
        f"{length.last_step(state):,}",
        count((state.position + length.windows_left(state)) * m.max_length),
        f", at most {limit:g} minutes" if limit else "", state.run_dir,
    )  # fmt: skip
    if m.warmup_steps >= length.last_step(state):
        log.warning(
            "model.warmup_steps=%d covers all %d steps of the run: the learning rate never decays",
            m.warmup_steps, length.last_step(state),
        )  # fmt: skip
    if checkpoint is None:
        return True
    if state.finished:
        log.info(
            "this run is complete (%s); set checkpoint.resume=never to start a new run, or raise "
            "model.num_epochs or schedule.max_steps to train longer", checkpoint.path,
        )  # fmt: skip
        return False
    log.info("resuming at step %d from %s", state.step, checkpoint.path)
    return True
