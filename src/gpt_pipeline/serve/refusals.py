"""Messages for invalid arguments, one line each."""

from collections.abc import Mapping, Sequence
from typing import Any

from gpt_pipeline.config import MOST_LOGPROBS, nearest
from gpt_pipeline.config.problems import one_line, shown
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.schemas import (
    LONGEST_STOP,
    MOST_BIASES,
    MOST_PROMPTS,
    MOST_STOPS,
    Arguments,
    CompletionRequest,
)
from gpt_pipeline.serve.tokenization import DETOKENIZE, TOKENIZE, DetokenizeRequest, TokenizeRequest

_BODIES: dict[str, type[Arguments]] = {TOKENIZE: TokenizeRequest, DETOKENIZE: DetokenizeRequest}

_WORDS = {
    "prompt": "a text, a list of token ids, or a list of texts or of such lists, "
    f"at most {MOST_PROMPTS} of them and no empty list",
    "stop": f"a text or a list of at most {MOST_STOPS} texts, "
    f"each of 1 to {LONGEST_STOP} characters",
    "logit_bias": f"an object of at most {MOST_BIASES} token ids with numbers from -100 to 100",
    "suffix": "null or empty: a base model cannot fill in the middle of a text",
    "logprobs": f"a whole number of alternatives from 0 to {MOST_LOGPROBS}, or null",
    "skip_special_tokens": "true: end-of-text is never part of a text",
    "ignore_eos": "false: end-of-text ends a text; logit_bias can keep it out",
    "min_tokens": "0: a text may end at once; logit_bias can keep end-of-text out",
    "stop_token_ids": "null or empty; stop takes texts",
    "stream_options.continuous_usage_stats": "false; include_usage gives the counts at the end",
}
"""Arguments of a completion whose type has several forms, for each of which pydantic reports an
error, or that allow a single value.
"""


def of_arguments(errors: Sequence[Mapping[str, Any]], path: str) -> ApiError:
    """The refusal for the first of pydantic's errors in a request to a path."""
    problem, body = errors[0], _BODIES.get(path, CompletionRequest)
    where, kind = [str(part) for part in problem["loc"][1:]], problem["type"]
    if kind == "json_invalid":
        reason = one_line(str(problem["ctx"]["error"]))
        return ApiError(400, f"the body is not JSON: {reason}", code="invalid_json")
    if kind == "value_error":
        message = problem["msg"].removeprefix("Value error, ")
        name = ".".join(where)
        return ApiError(
            400, f"{name or 'the body'} {message}", param=name or None, code="invalid_argument"
        )
    if not where:
        return of_body()
    name = one_line(where[0])
    if kind == "extra_forbidden":
        dotted = one_line(".".join(where))
        hint = nearest(name, list(body.model_fields)) if len(where) == 1 else ""
        if body is CompletionRequest and name == "messages":
            hint = ": this is a base model, without chat; give prompt"
        message = f"{dotted} is not an argument of this request{hint}"
        return ApiError(400, message, param=dotted, code="unknown_argument")
    if kind == "missing":
        message = f"{name} must be given"
    elif body is CompletionRequest and (known := _known(where)) is not None:
        message = f"{known} must be {_WORDS[known]}"
    else:
        dotted, got = one_line(".".join(where)), problem["input"]
        said = problem["msg"].replace("Input should be", "must be", 1)
        text = " (a text)" if isinstance(got, str) else ""
        message = f"{dotted} {said}; got {shown(got)}{text}"
    return ApiError(400, message, param=name, code="invalid_argument")


def _known(where: Sequence[str]) -> str | None:
    """The argument that has a message of its own; the location may go deeper into its value."""
    return next((name for name in (where[0], ".".join(where)) if name in _WORDS), None)


def of_unreadable(error: BaseException) -> ApiError:
    """The refusal of a body that is not readable JSON: for example because it is not UTF-8, is
    nested 10,000 levels deep, or has a number of 5,000 digits.
    """
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    elif isinstance(error, UnicodeDecodeError):
        reason = f"it is not UTF-8 at byte {error.start}"
    else:
        reason = one_line(str(error))
    return ApiError(400, f"the body is not JSON: {reason}", code="invalid_json")


def of_body() -> ApiError:
    """The refusal of a body that is not a JSON object, or lacks the content type."""
    return ApiError(
        400,
        "the body must be a JSON object, with Content-Type: application/json",
        code="invalid_json",
    )
