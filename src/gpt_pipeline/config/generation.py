"""The groups of the schema about what is done with a trained model: sampling and serving."""

import ipaddress
from typing import Annotated, Literal

from pydantic import Field

from gpt_pipeline.section import (
    Count,
    DrawnPenalty,
    LogitBias,
    NonNegative,
    Origins,
    Penalty,
    Positive,
    Section,
)

MOST_LOGPROBS = 20


class SamplingConfig(Section):
    """How tokens are drawn, beside model.temperature, top_k and top_p."""

    add_bos_token: bool
    """put end-of-text before a text prompt, as in training, if the model was trained with it"""
    min_p: Annotated[float, Field(ge=0, le=1)]
    """drop tokens less probable than this share of the best one's probability; 0: none"""
    repetition_penalty: Penalty
    """divides the logits of tokens that the text already has (negative ones: times); 1: none"""
    presence_penalty: DrawnPenalty
    """subtracted from the logits of tokens that were generated; 0: none"""
    frequency_penalty: DrawnPenalty
    """subtracted from the logits of a token for each time that it was generated; 0: none"""
    logit_bias: LogitBias | None
    """added to the logits of token ids before sampling; null: nothing"""
    stop: list[str]
    """texts that end a sample; they are not part of it"""
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None
    """log-probabilities of the tokens and of this many best ones (format=json); null: none"""


class ServeConfig(Section):
    """The server's address and limits."""

    host: Annotated[str, Field(min_length=1)]
    """address to listen on; 0.0.0.0 is every one of this machine"""
    port: Annotated[int, Field(ge=0, le=65535)]
    """port to listen on; 0: any free one"""
    api_key: str | None
    """key that requests must bring as `Authorization: Bearer KEY`; null: none"""
    cors_origins: Origins
    """origins whose web pages may use the API, such as https://example.com; *: every one"""
    slots: Count
    """samples that are decoded together"""
    queue: Count
    """places for samples that wait for a slot; a request that finds none is refused with 429"""
    max_tokens: Count
    """tokens that one sample may ask for"""
    max_body_bytes: Count
    """largest request that is read"""
    timeout_s: Positive
    """seconds that one request may take"""
    grace_s: NonNegative
    """seconds that running requests have to end in after SIGTERM"""
    log: Literal["errors", "requests"]
    """requests: a line for each request too, with its status, duration and tokens"""


def is_loopback(host: str) -> bool:
    """Whether it is an address or a name that every machine has for itself alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
