"""Many samples of many prompts: made side by side, given out in their order."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpt_pipeline.cli.prompts import Prompt, read_ids
from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import Engine, Request, TextSample
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import Tokenizer

MOST_AT_ONCE = 32
"""Samples side by side: more gain little on a CPU, and take their memory."""


@dataclass(frozen=True)
class Made:
    """A sample of one of the prompts."""

    prompt: str
    sample: TextSample


def make_samples(
    model: GPTModel,
    tokenizer: Tokenizer,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    *,
    seed: int,
    num_samples: int,
) -> Iterator[Made]:
    """Every sample of every prompt, in the order of the prompts, each as soon as it can be.

    Raises:
        UserError: the logits are not finite.
    """
    read = [read_ids(prompt.ids, model, tokenizer, sampling) for prompt in prompts]
    requests = (
        (prompt.text, Request(ids, sampling, seed, prompt_idx, sample_idx))
        for prompt_idx, (prompt, ids) in enumerate(zip(prompts, read, strict=True))
        for sample_idx in range(num_samples)
    )
    total = len(prompts) * num_samples
    engine = Engine(model, tokenizer.eot_id, min(total, MOST_AT_ONCE))
    running: dict[int, tuple[int, Made]] = {}
    done: dict[int, Made] = {}
    started = given = 0
    while given < total:
        while engine.free and started < total:
            prompt, request = next(requests)
            made = Made(prompt, TextSample(tokenizer.stream(), sampling.stop))
            running[engine.add(request)] = (started, made)
            started += 1
        for key, drawn in engine.step():
            place, made = running[key]
            made.sample.take(drawn)
            if made.sample.finish_reason is not None:
                engine.remove(key)
                done[place] = running.pop(key)[1]
        while given in done:
            yield done.pop(given)
            given += 1


@contextmanager
def appended(path: Path) -> Iterator[Callable[[str], None]]:
    """Adds lines to a new file. Whatever ends it, there are whole lines in it, or there is no file.

    Raises:
        UserError: the file cannot be made or written.
    """
    made, whole = False, 0
    try:
        with path.open("xb") as file:
            made = True

            def append(line: str) -> None:
                nonlocal whole
                whole += file.write(line.encode("utf-8") + b"\n")
                file.flush()

            yield append
    except OSError as error:
        raise UserError(f"output={path} cannot be written: {error.strerror or error}") from None
    finally:
        if made and whole == 0:
            path.unlink()
        elif made and path.stat().st_size > whole:
            os.truncate(path, whole)
