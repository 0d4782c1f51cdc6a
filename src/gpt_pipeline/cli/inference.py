"""`gpt-pipeline inference`: a checkpoint and prompts in, texts out, streamed while decoding."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpt_pipeline.cli.checkpoint import choose_checkpoint, sampling_config
from gpt_pipeline.cli.console import (
    for_standard_output,
    is_terminal,
    json_line,
    log,
    log_to_stderr,
    print_json,
)
from gpt_pipeline.cli.progress import sample_progress
from gpt_pipeline.cli.session import talk
from gpt_pipeline.config import Config
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.inference import Sample, SampledToken, TextGenerator, prepare_as_configured
from gpt_pipeline.inference.prompts import Prompt, encode_prompts, read_prompt_file
from gpt_pipeline.runtime.device import set_up_torch
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tokenizer import Tokenizer


def command(overrides: Sequence[str]) -> int:
    """Generate text as configured; returns the exit code."""
    log_to_stderr()
    composed = compose(overrides)
    given = composed.config
    if given.prompts and "model.prompt" in composed.overridden:
        raise ConfigError(["prompts and model.prompt cannot both be given; leave one out"])
    lines = read_prompt_file(Path(given.prompts)) if given.prompts else None
    if given.output is not None:
        _check_output(Path(given.output))
    device = set_up_torch(given.runtime)
    checkpoint = choose_checkpoint(composed)
    config = sampling_config(composed, checkpoint)
    backend = prepare_as_configured(checkpoint.load_model(device), given.runtime)
    generator = TextGenerator(backend, checkpoint.tokenizer())
    sampling, seed = config.sampler(), given.runtime.seed
    with Precision.for_inference(given.runtime, device).autocast():
        if lines is None and _on_a_terminal(composed):
            talk(generator.stream, sampling, seed)
            return 0
        texts = lines or [("model.prompt", config.model.prompt)]
        max_length = backend.config.max_length
        prompts = encode_prompts(texts, generator.tokenizer, max_length=max_length)
        if given.output is None and given.num_samples == len(prompts) == 1 and _is_text(given):
            _print_pieces(prompts[0].text, generator.stream(prompts[0].text, sampling, seed))
            return 0
        samples = generator.samples(prompts, sampling, seed, num_samples=given.num_samples)
        if given.output is None:
            _print_samples(samples, given, generator.tokenizer)
        else:
            with appended(Path(given.output)) as append:
                _write(samples, prompts, given, generator.tokenizer, append)
    return 0


def _is_text(given: Config) -> bool:
    return given.format == "text"


def _on_a_terminal(composed: Composed) -> bool:
    """Whether to start a session: on a terminal, with neither a prompt nor an output given."""
    given = composed.config
    plain = _is_text(given) and given.num_samples == 1 and given.output is None
    has_prompt = "model.prompt" in composed.overridden
    return plain and not has_prompt and is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _print_pieces(prompt: str, pieces: Iterator[str]) -> None:
    print(for_standard_output(prompt), end="", flush=True)
    for piece in pieces:
        print(for_standard_output(piece), end="", flush=True)
    print("\n", flush=True)


def _print_samples(samples: Iterator[Sample], given: Config, tokenizer: Tokenizer) -> None:
    for number, sample in enumerate(samples):
        if not _is_text(given):
            print_json(_as_json(sample, tokenizer))
            continue
        text = for_standard_output(sample.prompt + sample.text)
        index = number % given.num_samples + 1
        head = f"[{index} of {given.num_samples}] " if given.num_samples > 1 else ""
        print(f"{head}{text}\n", flush=True)


def _write(
    samples: Iterator[Sample],
    prompts: Sequence[Prompt],
    given: Config,
    tokenizer: Tokenizer,
    append: Callable[[str], None],
) -> None:
    """One JSON object per sample into a file, each as soon as all before it are written."""
    total = len(prompts) * given.num_samples
    with sample_progress(total) as advance:
        for sample in samples:
            append(json_line(_as_json(sample, tokenizer)))
            advance(len(sample.tokens))
    log.info("wrote %s samples to %s", f"{total:,}", given.output)


@contextmanager
def appended(path: Path) -> Iterator[Callable[[str], None]]:
    """Write lines to a new file; however it ends, the file has whole lines only, or is absent.

    Raises:
        UserError: the file cannot be created or written.
    """
    created, whole = False, 0
    try:
        with path.open("xb") as file:
            created = True

            def append(line: str) -> None:
                nonlocal whole
                whole += file.write(line.encode("utf-8") + b"\n")
                file.flush()

            yield append
    except OSError as error:
        raise UserError(f"output={path} cannot be written: {error.strerror or error}") from None
    finally:
        if created and whole == 0:
            path.unlink()
        elif created and path.stat().st_size > whole:
            os.truncate(path, whole)


def _as_json(sample: Sample, tokenizer: Tokenizer) -> dict[str, Any]:
    result: dict[str, Any] = {
        "prompt": sample.prompt,
        "text": sample.text,
        "tokens": sample.tokens,
        "finish_reason": sample.finish_reason,
    }
    if sample.sampled and sample.sampled[0].logprob is not None:
        result["logprobs"] = [_logprob(one, tokenizer) for one in sample.sampled]
    return result


def _logprob(sampled: SampledToken, tokenizer: Tokenizer) -> dict[str, Any]:
    token = tokenizer.eot_id if sampled.token is None else sampled.token
    best = [{"token": each, "text": tokenizer.decode([each]), "logprob": value}
            for each, value in sampled.alternatives]  # fmt: skip
    return {
        "token": token,
        "text": tokenizer.decode([token]),
        "logprob": sampled.logprob,
        "alternatives": best,
    }


def _check_output(path: Path) -> None:
    if path.exists():
        raise UserError(f"output={path} is there already; remove it, or name another file")
    if not path.parent.is_dir():
        raise UserError(f"output={path} must be in a folder that is there; got {path.parent}")
