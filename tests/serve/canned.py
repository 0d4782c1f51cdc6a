"""Answers that a browser is given in the place of the server's."""

import json


def error_body(message: str) -> dict:
    """A refusal, as OpenAI's API words it."""
    return {"error": {"message": message, "type": "invalid_request_error", "code": None}}


def stream_of(text: str, tokens: list[str], *, end: bool = False, other: str = " other") -> dict:
    """A whole response for Playwright to give: a text that ends, its tokens, an alternative."""
    logprobs = _logprobs([*tokens, "<|endoftext|>"] if end else tokens, other)
    choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": "stop"}
    event = {"choices": [{**choice, "prompt_token_ids": [0]}]}
    body = f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n"
    return {"content_type": "text/event-stream", "body": body}


def _logprobs(tokens: list[str], other: str) -> dict:
    numbers = range(len(tokens))
    return {
        "tokens": tokens,
        "token_logprobs": [-0.5 for _ in numbers],
        "token_ids": [*numbers],
        "top_token_ids": [[number, 900] for number in numbers],
        "top_token_logprobs": [[-0.5, -1.5] for _ in numbers],
        "top_token_texts": [[token, other] for token in tokens],
    }
