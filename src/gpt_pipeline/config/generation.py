"""The sections `sampling` and `serve`: how a trained model is used."""

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
    """How tokens are sampled, in addition to model.temperature, top_k and top_p."""

    add_bos_token: bool
    """put end-of-text before a text prompt, if the model was trained with it"""
    min_p: Annotated[float, Field(ge=0, le=1)]
    """drop tokens less likely than this share of the most likely one's probability; 0: none"""
    repetition_penalty: Penalty
    """divisor of the positive logits of tokens in the text, factor of the negative ones; 1: none"""
    presence_penalty: DrawnPenalty
    """subtracted from the logits of generated tokens; 0: none"""
    frequency_penalty: DrawnPenalty
    """subtracted from a token's logit once per time that it was generated; 0: none"""
    logit_bias: LogitBias | None
    """added to the logits of token ids before sampling, such as {11:-5}; null: none"""
    stop: list[str]
    """texts that end a sample; they are not part of it"""
    logprobs: Annotated[int, Field(ge=0, le=MOST_LOGPROBS)] | None
    """output log-probabilities of tokens and this many alternatives (format=json); null: none"""


class ServeConfig(Section):
    """The server's address and limits."""

    host: Annotated[str, Field(min_length=1)]
    """address to listen on; 0.0.0.0: every address of this machine"""
    port: Annotated[int, Field(ge=0, le=65535)]
    """port to listen on; 0: any free port"""
    api_key: str | None
    """key that requests must send as `Authorization: Bearer KEY`; null: none"""
    cors_origins: Origins
    """origins of web pages that may use the API, such as https://example.com; *: all"""
    slots: Count
    """samples that are generated in one batch"""
    queue: Count
    """samples that may wait for a slot; further requests are refused with status 429"""
    max_tokens: Count
    """maximum tokens of one sample"""
    max_body_bytes: Count
    """maximum size of a request in bytes"""
    timeout_s: Positive
    """maximum duration of a request in seconds"""
    grace_s: NonNegative
    """seconds that running requests have to finish after SIGTERM"""
    log: Literal["errors", "requests"]
    """requests: also log each request with its status, duration and tokens"""


def is_loopback(host: str) -> bool:
    """Whether a host is the loopback interface."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
