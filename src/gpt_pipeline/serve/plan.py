"""From a request's arguments to the samples that the engine decodes."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from gpt_pipeline.config import Sampling
from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import Request, check_logit_bias
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.schemas import CompletionRequest
from gpt_pipeline.serve.served import Served

_RANDOM_SEED_BITS = 31
_MOST_LOGPROBS = 1 << 20
TOO_LONG = "context_length_exceeded"


@dataclass(frozen=True)
class Prompt:
    """A prompt as token ids and as text.

    Attributes:
        ids: its tokens.
        text: its text.
        read: what the model reads: the ids, after end-of-text if the prompt was given as text.
    """

    ids: tuple[int, ...]
    text: str
    read: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A checked request.

    Attributes:
        prompts: one or more.
        requests: the samples, those of a prompt together; none if no token is asked for.
        n: choices per prompt.
        best_of: samples per prompt, of which the n best are returned.
        max_tokens: tokens of a sample; 0: only the prompt.
        seed: the request's, or a random one.
        logprobs: alternatives to report; None: no log-probabilities.
        stops: texts that end a sample.
        echo: whether the texts begin with the prompts.
    """

    prompts: tuple[Prompt, ...]
    requests: tuple[Request, ...]
    n: int
    best_of: int
    max_tokens: int
    seed: int
    logprobs: int | None
    stops: tuple[str, ...]
    echo: bool

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of a sample."""
        return self.prompts[index // self.best_of]

    @property
    def num_samples(self) -> int:
        """Samples to decode."""
        return len(self.prompts) * self.best_of

    @property
    def num_scored(self) -> int:
        """Prompts whose own log-probabilities are reported."""
        return len(self.prompts) if self.echo and self.logprobs is not None else 0


def plan(
    given: CompletionRequest,
    served: Served,
    *,
    most_tokens: int,
    check: Callable[[Request], None],
) -> Plan:
    """Check the arguments against the model and the limits, and plan the samples.

    Args:
        given: the arguments.
        served: the model.
        most_tokens: the limit of max_tokens.
        check: refuses a sample that the engine cannot decode.

    Raises:
        ApiError: names the argument that is wrong or over a limit.
    """
    check_model(given.model, served)
    _check_supported(given)
    if given.max_tokens > most_tokens:
        raise ApiError(
            400,
            f"max_tokens must be at most {most_tokens} (serve.max_tokens); got {given.max_tokens}",
            param="max_tokens",
            code="max_tokens_exceeded",
        )
    best_of = given.n if given.best_of is None or given.max_tokens == 0 else given.best_of
    sampling, stop = _sampling(given, served), given.stop
    if best_of > given.n and sampling.logprobs is None:
        sampling = replace(sampling, logprobs=0)  # to find the best samples
    seed = secrets.randbits(_RANDOM_SEED_BITS) if given.seed is None else given.seed
    prompts: list[Prompt] = []
    requests: list[Request] = []
    for prompt in _prompts(given, served):  # encodes none after the first that is refused
        first = Request(prompt.read, sampling, seed, len(prompts))
        _check_request(first, served, check)
        requests += [replace(first, sample_idx=idx) for idx in range(best_of)]
        prompts.append(prompt)
    _check_logprobs(given, prompts)
    return Plan(
        prompts=tuple(prompts),
        requests=tuple(requests) if given.max_tokens > 0 else (),
        n=given.n,
        best_of=best_of,
        max_tokens=given.max_tokens,
        seed=seed,
        logprobs=given.logprobs,
        stops=(stop,) if isinstance(stop, str) else tuple(stop or ()),
        echo=given.echo,
    )


def check_model(name: str | None, served: Served) -> None:
    """Refuse the name of a model that is not served; None is the served model."""
    if name is not None and name != served.name:
        raise no_such_model(name, served)


def no_such_model(name: str, served: Served) -> ApiError:
    """The refusal of a model that is not served."""
    return ApiError(
        404,
        f"the model {name[:100]!r} does not exist; this server has {served.name!r}",
        param="model",
        code="model_not_found",
    )


def _check_supported(given: CompletionRequest) -> None:
    if given.best_of is not None and given.best_of < given.n:
        raise ApiError(
            400,
            f"best_of must be at least n; got {given.best_of} with n={given.n}",
            param="best_of",
            code="invalid_argument",
        )
    best_of = given.n if given.best_of is None else given.best_of
    if best_of > given.n and given.stream and given.max_tokens > 0:
        raise ApiError(
            400,
            f"best_of above n cannot be streamed; got {best_of} with n={given.n}; leave stream out",
            param="best_of",
            code="unsupported",
        )
    if given.stream_options is not None and not given.stream:
        raise ApiError(
            400,
            "stream_options is only for stream=true",
            param="stream_options",
            code="unsupported",
        )


def _check_logprobs(given: CompletionRequest, prompts: Sequence[Prompt]) -> None:
    """Limit the lists in memory: until the response is sent, an entry takes about 200 bytes."""
    each = 0 if given.logprobs is None else given.logprobs + 1
    echoed = sum(len(prompt.ids) for prompt in prompts) if given.echo else 0
    samples = len(prompts) * (given.best_of or given.n)
    number = (samples * given.max_tokens + given.n * echoed) * each
    if number > _MOST_LOGPROBS:
        with_prompts = f", {echoed} tokens of prompts" if given.echo else ""
        raise ApiError(
            400,
            f"a request may have at most {_MOST_LOGPROBS} log-probabilities; it could have "
            f"{number} with {samples} samples, max_tokens={given.max_tokens}"
            f"{with_prompts} and logprobs={given.logprobs}",
            param="logprobs",
            code="too_many_logprobs",
        )


def _sampling(given: CompletionRequest, served: Served) -> Sampling:
    """The settings of the engine, which does not need the stop texts."""
    if given.top_k is not None and given.top_k > served.vocab_size:
        raise ApiError(
            400,
            f"top_k must be at most {served.vocab_size}, the entries of the vocabulary; "
            f"got {given.top_k}",
            param="top_k",
            code="invalid_argument",
        )
    biases = {int(token): bias for token, bias in (given.logit_bias or {}).items()}
    try:
        check_logit_bias(biases, served.vocab_size, "logit_bias")
    except UserError as error:
        raise ApiError(400, str(error), param="logit_bias", code="invalid_argument") from None
    return Sampling(
        temperature=given.temperature,
        top_k=given.top_k,
        top_p=given.top_p,
        max_new_tokens=max(given.max_tokens, 1),
        min_p=given.min_p,
        repetition_penalty=given.repetition_penalty,
        presence_penalty=given.presence_penalty,
        frequency_penalty=given.frequency_penalty,
        logit_bias=tuple(sorted(biases.items())),
        logprobs=given.logprobs,
    )


def _prompts(given: CompletionRequest, served: Served) -> Iterator[Prompt]:
    if given.prompt is None:
        yield Prompt((), "", ())
        return
    ids: list[int] = []
    for entry in [given.prompt] if isinstance(given.prompt, str) else given.prompt:
        if isinstance(entry, str):
            yield _of_text(entry, served, add_bos_token=given.add_special_tokens)
        elif isinstance(entry, int):
            ids.append(entry)
        else:
            yield _of_ids(entry, served)
    if ids:
        yield _of_ids(ids, served)


def _of_text(text: str, served: Served, *, add_bos_token: bool | None) -> Prompt:
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError:
        raise ApiError(
            400, "prompt must be valid Unicode; got a lone surrogate", param="prompt",
            code="invalid_argument",
        ) from None  # fmt: skip
    if size > served.longest_prompt_bytes:  # before encoding it, which could take long
        raise ApiError(
            400,
            f"the prompt must be at most {served.context_length} tokens; got {size} bytes, more "
            "than so many tokens can encode",
            param="prompt",
            code=TOO_LONG,
        )
    ids = tuple(served.tokenizer.encode(text))
    return Prompt(ids, text, served.read_ids(ids, add_bos_token=add_bos_token))


def _of_ids(ids: list[int], served: Served) -> Prompt:
    # too many ids, or unknown ones, are refused later
    known = [token for token in ids[: served.context_length] if token < served.vocab_size]
    return Prompt(tuple(ids), served.tokenizer.decode(known), tuple(ids))


def _check_request(request: Request, served: Served, check: Callable[[Request], None]) -> None:
    try:
        check(request)
    except (UserError, ValueError) as error:
        too_long = len(request.prompt) > served.context_length
        code = TOO_LONG if too_long else "invalid_argument"
        raise ApiError(400, str(error), param="prompt", code=code) from None
