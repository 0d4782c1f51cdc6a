"""The data of OpenAI's Completions API, with our additions.

Requests are checked by pydantic models; responses are typed dictionaries.
"""

from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from typing_extensions import NotRequired, TypedDict

from gpt_pipeline.config import MOST_LOGPROBS
from gpt_pipeline.section import Bias, DrawnPenalty, Penalty

MOST_SAMPLES = 16
MOST_PROMPTS = 1024
MOST_STOPS = 16
MOST_BIASES = 1024
LONGEST_STOP = 256
_MOST_ARGUMENTS = 64
_LARGEST_SEED = 2**63 - 1


def _few(value: object, most: int) -> object:
    """Refuse a large object before each of its entries has an error of its own."""
    if isinstance(value, dict) and len(value) > most:
        raise ValueError(f"must have at most {most} entries")
    return value


def _no_number(value: object) -> object:
    """Refuse 1 and 0, which equal True and False in Python."""
    if type(value) is int:
        raise ValueError("must be true or false")
    return value


# Validation of a list ends at its first error: 500,000 errors would take all memory.
_Ids = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, fail_fast=True)]
_MANY = Field(min_length=1, max_length=MOST_PROMPTS, fail_fast=True)
_Texts = Annotated[list[str], _MANY]
_IdLists = Annotated[list[_Ids], _MANY]
_Stop = Annotated[str, Field(min_length=1, max_length=LONGEST_STOP)]
_Stops = Annotated[list[_Stop], Field(max_length=MOST_STOPS, fail_fast=True)]
_NoStop = Annotated[list[Literal[""]], Field(min_length=1, max_length=1, fail_fast=True)]
_True = Annotated[Literal[True], BeforeValidator(_no_number)]
_False = Annotated[Literal[False], BeforeValidator(_no_number)]
_TokenId = Annotated[str, Field(pattern="^[0-9]{1,9}$")]
_Biases = Annotated[
    dict[_TokenId, Bias],
    Field(max_length=MOST_BIASES),
    BeforeValidator(partial(_few, most=MOST_BIASES)),
]


class Arguments(BaseModel):
    """A request's body: strict about types, no unknown names; null means the default."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @model_validator(mode="before")
    @classmethod
    def _few_arguments(cls, values: object) -> object:
        return _few(values, _MOST_ARGUMENTS)

    @field_validator("*", mode="before")
    @classmethod
    def _null_is_the_default(cls, value: object, info: ValidationInfo) -> object:
        field = cls.model_fields[str(info.field_name)]
        return field.default if value is None and not field.is_required() else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        reference = handler(schema)
        whole = handler.resolve_ref_schema(reference)
        for name, entry in whole["properties"].items():
            if name not in whole.get("required", ()):
                _allow_null(entry)
        return reference


def _allow_null(entry: dict[str, Any]) -> None:
    kinds = entry.setdefault("anyOf", [])
    if not kinds:
        about = ("title", "description", "default", "anyOf")
        kinds.append({key: entry.pop(key) for key in list(entry) if key not in about})
    if {"type": "null"} not in kinds:
        kinds.append({"type": "null"})


class StreamOptions(Arguments):
    """Options of a stream."""

    include_usage: bool = False
    """send the counts of tokens in a last event"""
    include_obfuscation: bool = False
    """accepted and ignored"""
    continuous_usage_stats: _False = False
    """only false: counts of tokens are in the last event (vLLM's)"""


class CompletionRequest(Arguments):
    """The body of POST /v1/completions."""

    model: str | None = None
    """the model's id; null: the served model"""
    prompt: str | _Texts | _Ids | _IdLists | None = None
    """text or token ids to continue, one or a list; null or an empty text: from end-of-text"""
    max_tokens: Annotated[int, Field(ge=0)] = 16
    """tokens to generate at most; the server has its own limit"""
    temperature: Annotated[float, Field(ge=0)] = 1.0
    """0: always the most probable token"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """sample from the most probable tokens whose probabilities sum to this"""
    n: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] = 1
    """choices per prompt"""
    stream: bool = False
    """send pieces while decoding, as server-sent events"""
    stream_options: StreamOptions | None = None
    """only with stream"""
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | Literal[False] | None = None
    """report log-probabilities of each token and of so many best ones; false, like null: none"""
    echo: bool = False
    """return the prompt before the completion"""
    stop: Literal[""] | _Stop | _NoStop | _Stops | None = None
    """texts that end a choice; they are not part of it; one empty text, like null: none"""
    seed: Annotated[int, Field(ge=-_LARGEST_SEED - 1, le=_LARGEST_SEED)] | None = None
    """the same seed gives the same choices; null: a random one, reported in the response"""
    logit_bias: _Biases | None = None
    """added to the logits of token ids"""
    presence_penalty: DrawnPenalty = 0.0
    """subtracted from the logits of tokens that were generated"""
    frequency_penalty: DrawnPenalty = 0.0
    """subtracted from the logits of a token once per time that it was generated"""
    best_of: Annotated[int, Field(ge=1, le=MOST_SAMPLES)] | None = None
    """sample so many per prompt, and return the n with the highest log-probability per token"""
    suffix: Literal[""] | None = None
    """only null or an empty text: a base model cannot fill in the middle of a text"""
    user: str | None = None
    """accepted and ignored"""
    add_special_tokens: bool | None = None
    """put end-of-text before a prompt that is text, as in training; null: as configured (vLLM's)"""
    top_k: Annotated[int, Field(ge=-1)] | None = None
    """sample from the k most probable tokens; null, 0 or -1: from all (not in OpenAI's API)"""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.0
    """drop tokens less probable than this share of the best one's (not in OpenAI's API)"""
    repetition_penalty: Penalty = 1.0
    """divides the logits of tokens that are in the text already; 1: none (not in OpenAI's API)"""
    skip_special_tokens: _True = True
    """only true: end-of-text is never part of a text (vLLM's)"""
    ignore_eos: _False = False
    """only false: end-of-text ends a choice (vLLM's)"""
    min_tokens: Annotated[int, Field(ge=0, le=0)] = 0
    """only 0: a choice may end at once (vLLM's)"""
    stop_token_ids: Annotated[list[int], Field(max_length=0, fail_fast=True)] | None = None
    """only null or an empty list: `stop` has texts (vLLM's)"""

    @field_validator("stop", "logprobs", "top_k", mode="after")
    @classmethod
    def _neutral_is_the_default(cls, value: object, info: ValidationInfo) -> object:
        return None if _asks_for_nothing(str(info.field_name), value) else value


def _asks_for_nothing(name: str, value: object) -> bool:
    if name == "logprobs":
        return value is False  # 0 has those of the tokens themselves
    return value in (("", [""]) if name == "stop" else (-1, 0))


class Logprobs(TypedDict):
    """Log-probabilities of the tokens of a text; all lists have one entry per token.

    All sampled tokens are included, also end-of-text and those of a stop text. A token that is not
    whole UTF-8 is `bytes:` with escapes. The lists `top_*` have the most probable tokens, best
    first, as many as were asked for; `top_logprobs` has the sampled token too.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    token_ids: list[int]
    top_token_ids: list[list[int]]
    top_token_logprobs: list[list[float]]
    top_token_texts: list[list[str]]


class Choice(TypedDict):
    """One text, or a piece of it.

    `prompt_token_ids` is in the first piece, or together with log-probabilities.
    """

    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length"] | None
    prompt_token_ids: NotRequired[list[int]]


class Usage(TypedDict):
    """Tokens of all prompts, and all sampled tokens, end-of-text included."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Completion(TypedDict):
    """A response, or one event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: NotRequired[Usage | None]
    seed: int


class Defaults(TypedDict):
    """The model's recommended settings, which the page begins with."""

    prompt: str
    temperature: float
    top_k: int | None
    top_p: float
    min_p: float
    repetition_penalty: float
    presence_penalty: float
    frequency_penalty: float
    max_tokens: int


class ModelCard(TypedDict):
    """A model; the keys from `context_length` on are not in OpenAI's API."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    context_length: int
    vocab_size: int
    eot_id: int
    add_bos_token: bool
    parameters: int
    defaults: Defaults


class ModelList(TypedDict):
    """The served models: one."""

    object: Literal["list"]
    data: list[ModelCard]


class Health(TypedDict):
    """The server's health."""

    status: Literal["ok"]


class ErrorDetail(TypedDict):
    """Why a request failed, and the argument at fault."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(TypedDict):
    """OpenAI's error body."""

    error: ErrorDetail
