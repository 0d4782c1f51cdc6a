"""/tokenize, /detokenize and /tokenizer_info, compatible with vLLM's.

Evaluation harnesses and prompt builders count tokens with them.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import Depends, FastAPI
from pydantic import Field
from typing_extensions import TypedDict

from gpt_pipeline.errors import UserError
from gpt_pipeline.serve.errors import ApiError
from gpt_pipeline.serve.logprobs import token_text
from gpt_pipeline.serve.plan import check_model
from gpt_pipeline.serve.schemas import Arguments
from gpt_pipeline.serve.served import Served
from gpt_pipeline.tokenizer import END_OF_TEXT

TOKENIZE, DETOKENIZE, INFO = "/tokenize", "/detokenize", "/tokenizer_info"
_LARGE = 1 << 14
"""A longer text or list takes milliseconds: it is handled in a thread, one at a time."""

Result = TypeVar("Result")


class TokenizeRequest(Arguments):
    """The body of POST /tokenize."""

    model: str | None = None
    """the model's id; null: the served model"""
    prompt: str
    """the text; `<|endoftext|>` alone is that token, as clients ask for the id of eos_token"""
    add_special_tokens: bool = True
    """accepted and ignored: the tokens never begin with end-of-text"""
    return_token_strs: bool = False
    """return each token as text too"""


class DetokenizeRequest(Arguments):
    """The body of POST /detokenize."""

    model: str | None = None
    """the model's id; null: the served model"""
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
    """ids; bytes that are not valid UTF-8 become U+FFFD"""


class Tokens(TypedDict):
    """The tokens of a text."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(TypedDict):
    """The text of tokens."""

    prompt: str


class TokenizerInfo(TypedDict):
    """The fields of Hugging Face's tokenizer_config.json."""

    tokenizer_class: str
    bos_token: str
    eos_token: str
    unk_token: str
    pad_token: str | None
    add_prefix_space: bool
    model_max_length: int
    vocab_size: int
    chat_template: str | None


class Tokenization:
    """Answers with the tokenizer of the served model."""

    def __init__(self, served: Served) -> None:
        self._served, self._tokenizer = served, served.tokenizer
        self._one_at_a_time = asyncio.Lock()

    async def tokenize(self, given: TokenizeRequest) -> Tokens:
        """The tokens of a text, which may be longer than the context."""
        check_model(given.model, self._served)
        ids = await self._in_thread(lambda: self._ids(given.prompt), len(given.prompt))
        texts = None
        if given.return_token_strs:
            texts = [token_text(self._tokenizer, token) for token in ids]
        return {
            "count": len(ids),
            "max_model_len": self._served.context_length,
            "tokens": ids,
            "token_strs": texts,
        }

    async def detokenize(self, given: DetokenizeRequest) -> Detokenized:
        """The text of tokens."""
        check_model(given.model, self._served)
        if max(given.tokens, default=0) >= self._served.vocab_size:
            raise ApiError(
                400,
                f"tokens must be ids below {self._served.vocab_size}; got {max(given.tokens)}",
                param="tokens",
                code="invalid_argument",
            )
        text = await self._in_thread(
            lambda: self._tokenizer.decode(given.tokens), len(given.tokens)
        )
        return {"prompt": text}

    async def info(self) -> TokenizerInfo:
        """The special tokens and limits."""
        return {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
            "pad_token": None,
            "add_prefix_space": False,
            "model_max_length": self._served.context_length,
            "vocab_size": self._served.vocab_size,
            "chat_template": None,
        }

    def _ids(self, text: str) -> list[int]:
        if text == END_OF_TEXT:
            return [self._tokenizer.eot_id]
        try:
            return self._tokenizer.encode(text)
        except UserError as error:
            raise ApiError(
                400, f"prompt: {error}", param="prompt", code="invalid_argument"
            ) from None

    async def _in_thread(self, work: Callable[[], Result], size: int) -> Result:
        if size <= _LARGE:
            return work()
        async with self._one_at_a_time:
            return await asyncio.to_thread(work)


def add_tokenization(
    app: FastAPI, served: Served, *, require_json: Callable[..., Any], errors: dict[int | str, Any]
) -> None:
    """Add the three routes; `require_json` refuses other bodies, `errors` describes refusals."""
    answers = Tokenization(served)
    for path, answer in ((TOKENIZE, answers.tokenize), (DETOKENIZE, answers.detokenize)):
        app.add_api_route(
            path, answer, methods=["POST"], dependencies=[Depends(require_json)], responses=errors
        )
    app.add_api_route(INFO, answers.info, methods=["GET"], responses=errors)
