"""`gpt-pipeline inference`: a checkpoint and prompts in, texts out, streamed as they are made."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
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
from gpt_pipeline.cli.machine import model_for_inference
from gpt_pipeline.cli.progress import sample_progress
from gpt_pipeline.cli.prompts import Prompt, encoded, read_ids, read_lines
from gpt_pipeline.cli.session import Pieces, talk
from gpt_pipeline.config import Config, Sampling
from gpt_pipeline.config.compose import Composed, compose
from gpt_pipeline.errors import ConfigError, UserError
from gpt_pipeline.inference import Engine, Request, SampledToken, TextSample
from gpt_pipeline.inference.batch import Made, appended, make_samples
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.device import set_up_torch
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tokenizer import Tokenizer


def command(words: Sequence[str]) -> int:
    """Generate as the words of the command line say; the exit code."""
    log_to_stderr()
    composed = compose(words)
    given = composed.config
    if given.prompts and "model.prompt" in composed.overridden:
        raise ConfigError(["prompts and model.prompt cannot both be given; leave one out"])
    lines = read_lines(Path(given.prompts)) if given.prompts else None
    if given.output is not None:
        _check_output(Path(given.output))
    device = set_up_torch(given.runtime)
    checkpoint = choose_checkpoint(composed)
    config = sampling_config(composed, checkpoint)
    model, tokenizer = (
        model_for_inference(checkpoint, given.runtime, device),
        checkpoint.tokenizer(),
    )
    writer = Writer(model, tokenizer, config.sampler(), given.runtime.seed)
    with Precision.for_inference(given.runtime, device).autocast():
        if lines is None and _on_a_terminal(composed):
            talk(writer.stream, writer.sampling, writer.seed)
            return 0
        texts = lines or [("model.prompt", config.model.prompt)]
        prompts = encoded(texts, tokenizer, max_length=model.config.max_length)
        if given.output is not None:
            with appended(Path(given.output)) as append:
                _write(writer, prompts, given, append)
        else:
            _show(writer, prompts, given)
    return 0


@dataclass(frozen=True)
class Writer:
    """What text is made with."""

    model: GPTModel
    tokenizer: Tokenizer
    sampling: Sampling
    seed: int

    @cached_property
    def _engine(self) -> Engine:
        """For one text at a time; kept, as a GPU records its steps for it."""
        return Engine(self.model, self.tokenizer.eot_id, slots=1)

    def stream(self, prompt: str, sampling: Sampling, seed: int) -> Pieces:
        """The pieces of one sample, as they are made; a piece never ends within a character.

        Close it before the next one, where it is not taken to its end.

        Raises:
            UserError: the prompt is too long (at once), or the logits are not finite (on the way).
        """
        ids = read_ids(self.tokenizer.encode(prompt), self.model, self.tokenizer, sampling)
        key = self._engine.add(Request(ids, sampling, seed))
        return self._pieces(key, TextSample(self.tokenizer.stream(), sampling.stop))

    def _pieces(self, key: int, sample: TextSample) -> Pieces:
        try:
            while sample.finish_reason is None:
                ((_, drawn),) = self._engine.step()
                yield sample.take(drawn)
        finally:
            self._engine.remove(key)

    def samples(self, prompts: Sequence[Prompt], num_samples: int) -> Iterator[Made]:
        """All samples of all prompts, in their order."""
        return make_samples(
            self.model, self.tokenizer, prompts, self.sampling,
            seed=self.seed, num_samples=num_samples,
        )  # fmt: skip


def one_sample(
    model: GPTModel, tokenizer: Tokenizer, prompt: str, sampling: Sampling, seed: int
) -> str:
    """A prompt and one text that goes on from it, as a whole."""
    writer = Writer(model, tokenizer, sampling, seed)
    return prompt + "".join(writer.stream(prompt, sampling, seed))


def _on_a_terminal(composed: Composed) -> bool:
    """Whether somebody sits there who said neither what to write nor where to."""
    given = composed.config
    plain = given.format == "text" and given.num_samples == 1 and given.output is None
    asked = "model.prompt" in composed.overridden
    return plain and not asked and is_terminal(sys.stdin) and is_terminal(sys.stdout)


def _show(writer: Writer, prompts: Sequence[Prompt], given: Config) -> None:
    if given.format == "text" and given.num_samples == 1 and len(prompts) == 1:
        pieces = writer.stream(prompts[0].text, writer.sampling, writer.seed)
        print(for_standard_output(prompts[0].text), end="", flush=True)
        for piece in pieces:
            print(for_standard_output(piece), end="", flush=True)
        print("\n", flush=True)
        return
    for number, made in enumerate(writer.samples(prompts, given.num_samples)):
        if given.format == "json":
            print_json(_as_json(made, writer.tokenizer))
            continue
        text = for_standard_output(made.prompt + made.sample.text)
        place = number % given.num_samples + 1
        head = f"[{place} of {given.num_samples}] " if given.num_samples > 1 else ""
        print(f"{head}{text}\n", flush=True)


def _write(
    writer: Writer, prompts: Sequence[Prompt], given: Config, append: Callable[[str], None]
) -> None:
    """One JSON object a sample into a file, each as soon as it and those before it are made."""
    total = len(prompts) * given.num_samples
    with sample_progress(total) as advance:
        for made in writer.samples(prompts, given.num_samples):
            append(json_line(_as_json(made, writer.tokenizer)))
            advance(len(made.sample.tokens))
    log.info("wrote %s samples to %s", f"{total:,}", given.output)


def _as_json(made: Made, tokenizer: Tokenizer) -> dict[str, Any]:
    sample = made.sample
    result: dict[str, Any] = {
        "prompt": made.prompt,
        "text": sample.text,
        "tokens": sample.tokens,
        "finish_reason": sample.finish_reason,
    }
    if sample.drawn and sample.drawn[0].logprob is not None:
        result["logprobs"] = [_logprob(one, tokenizer) for one in sample.drawn]
    return result


def _logprob(drawn: SampledToken, tokenizer: Tokenizer) -> dict[str, Any]:
    token = tokenizer.eot_id if drawn.token is None else drawn.token
    best = [{"token": each, "text": tokenizer.decode([each]), "logprob": value}
            for each, value in drawn.alternatives]  # fmt: skip
    return {
        "token": token,
        "text": tokenizer.decode([token]),
        "logprob": drawn.logprob,
        "alternatives": best,
    }


def _check_output(path: Path) -> None:
    if path.exists():
        raise UserError(f"output={path} is there already; remove it, or name another file")
    if not path.parent.is_dir():
        raise UserError(f"output={path} must be in a folder that is there; got {path.parent}")
