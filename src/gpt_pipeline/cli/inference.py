"""`gpt-pipeline inference`: a bundle and prompts in, texts out, streamed as they are made."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from gpt_pipeline.cli.bundle import choose_bundle, sampling_config
from gpt_pipeline.cli.compose import compose
from gpt_pipeline.cli.console import for_standard_output, log_to_stderr, print_json
from gpt_pipeline.cli.machine import set_up_torch
from gpt_pipeline.config import Config, Sampling
from gpt_pipeline.errors import DataError
from gpt_pipeline.generation import Sample, Step, collect, generate
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import Tokenizer
from gpt_pipeline.training import Precision


def command(words: Sequence[str]) -> int:
    """Generate as the words of the command line say; the exit code."""
    log_to_stderr()
    composed = compose(words)
    given = composed.config
    prompts = _read_prompts(Path(given.prompt_file)) if given.prompt_file else None
    device = set_up_torch(given.runtime)
    bundle = choose_bundle(composed)
    config = sampling_config(composed, bundle.config())
    model, tokenizer = bundle.load_model(device), bundle.tokenizer()
    with Precision.for_inference(given.runtime, device).autocast():
        for prompt_idx, prompt in enumerate(prompts or [config.model.prompt]):
            steps = generate(
                model,
                tokenizer.encode(prompt),
                sampling=config.model.sampling(),
                eot_id=tokenizer.eot_id,
                seed=given.runtime.seed,
                prompt_idx=prompt_idx,
                num_samples=given.num_samples,
            )
            _show(prompt, steps, tokenizer, given)
    return 0


def one_sample(
    model: GPTModel, tokenizer: Tokenizer, prompt: str, sampling: Sampling, seed: int
) -> str:
    """A prompt and one text that goes on from it, as a whole."""
    steps = generate(
        model, tokenizer.encode(prompt), sampling=sampling, eot_id=tokenizer.eot_id, seed=seed
    )
    (sample,) = collect(steps)
    return prompt + tokenizer.decode(sample.tokens)


def _show(prompt: str, steps: Iterator[Step], tokenizer: Tokenizer, given: Config) -> None:
    if given.format == "json":
        for sample in collect(steps):
            print_json(_as_json(prompt, sample, tokenizer))
    elif given.num_samples == 1:
        print(for_standard_output(prompt), end="", flush=True)
        for piece in _pieces(steps, tokenizer):
            print(for_standard_output(piece), end="", flush=True)
        print("\n", flush=True)
    else:
        for number, sample in enumerate(collect(steps), start=1):
            text = for_standard_output(prompt + tokenizer.decode(sample.tokens))
            print(f"[{number} of {given.num_samples}] {text}\n")


def _pieces(steps: Iterable[Step], tokenizer: Tokenizer) -> Iterator[str]:
    """Text of the only sample, piece by piece; a piece never ends within a character."""
    stream = tokenizer.stream()
    for step in steps:
        if (token := step.tokens[0]) is not None:
            yield stream.push(token)
    yield stream.finish()


def _as_json(prompt: str, sample: Sample, tokenizer: Tokenizer) -> dict[str, object]:
    return {
        "prompt": prompt,
        "text": tokenizer.decode(sample.tokens),
        "tokens": list(sample.tokens),
        "finish_reason": sample.finish_reason,
    }


def _read_prompts(path: Path) -> list[str]:
    """The lines of a prompt file that are not empty.

    Raises:
        DataError: it is missing, holds no prompt, or is not UTF-8.
    """
    try:
        prompts = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise DataError(f"prompt_file={path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"prompt_file={path} must be UTF-8; byte {error.start} is not") from None
    if not prompts:
        raise DataError(f"prompt_file={path} must hold a prompt a line; got no line with text")
    return prompts
