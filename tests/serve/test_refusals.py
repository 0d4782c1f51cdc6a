"""Each mistake has its status and OpenAI's error body, and the server goes on."""

import json

import pytest

ERROR = {"message", "type", "param", "code"}


def error_of(response, status):
    assert response.status_code == status, response.text[:1000]
    assert response.headers["content-type"] == "application/json"
    (error,) = response.json().values()
    assert set(error) == ERROR
    assert error["message"]
    assert "\n" not in error["message"]
    return error


@pytest.fixture(autouse=True)
def the_server_stays_up(server):
    yield
    assert server.text(prompt="x", max_tokens=1) == "a"


WRONG = {
    "no prompts": ({"prompt": []}, "prompt"),
    "an empty list among others": ({"prompt": [[1], []]}, "prompt"),
    "no ids": ({"prompt": [[]]}, "prompt"),
    "mixed prompts": ({"prompt": ["x", 1]}, "prompt"),
    "ids that are no numbers": ({"prompt": [1.5]}, "prompt"),
    "ids that are true": ({"prompt": [True]}, "prompt"),
    "a negative id": ({"prompt": [-1]}, "prompt"),
    "an id out of the vocabulary": ({"prompt": [257]}, "prompt"),
    "a prompt that is a number": ({"prompt": 7}, "prompt"),
    "a lone surrogate": ({"prompt": "\ud800"}, "prompt"),
    "negative temperature": ({"temperature": -0.1}, "temperature"),
    "NaN temperature": ({"temperature": float("nan")}, "temperature"),
    "infinite temperature": ({"temperature": float("inf")}, "temperature"),
    "temperature as text": ({"temperature": "1"}, "temperature"),
    "temperature as bool": ({"temperature": True}, "temperature"),
    "top_p 0": ({"top_p": 0}, "top_p"),
    "top_p above 1": ({"top_p": 1.1}, "top_p"),
    "NaN top_p": ({"top_p": float("nan")}, "top_p"),
    "top_k below -1": ({"top_k": -2}, "top_k"),
    "top_k as bool": ({"top_k": False}, "top_k"),
    "top_k above the vocabulary": ({"top_k": 258}, "top_k"),
    "min_p above 1": ({"min_p": 1.5}, "min_p"),
    "repetition_penalty 0": ({"repetition_penalty": 0}, "repetition_penalty"),
    "max_tokens below 0": ({"max_tokens": -1}, "max_tokens"),
    "max_tokens as a fraction": ({"max_tokens": 1.5}, "max_tokens"),
    "max_tokens as text": ({"max_tokens": "5"}, "max_tokens"),
    "n 0": ({"n": 0}, "n"),
    "n above the most": ({"n": 17}, "n"),
    "logprobs above the most": ({"logprobs": 21}, "logprobs"),
    "logprobs as bool": ({"logprobs": True}, "logprobs"),
    "stream as text": ({"stream": "yes"}, "stream"),
    "echo as a number": ({"echo": 1}, "echo"),
    "an empty stop among others": ({"stop": ["", "x"]}, "stop"),
    "empty stops": ({"stop": ["", ""]}, "stop"),
    "special tokens": ({"skip_special_tokens": False}, "skip_special_tokens"),
    "end-of-text ignored": ({"ignore_eos": True}, "ignore_eos"),
    "special tokens as a number": ({"skip_special_tokens": 1}, "skip_special_tokens"),
    "end-of-text ignored as a number": ({"ignore_eos": 0}, "ignore_eos"),
    "fewest tokens": ({"min_tokens": 1}, "min_tokens"),
    "fewest tokens as bool": ({"min_tokens": False}, "min_tokens"),
    "tokens that stop": ({"stop_token_ids": [5]}, "stop_token_ids"),
    "too many stops": ({"stop": ["x"] * 17}, "stop"),
    "a stop that is a number": ({"stop": 5}, "stop"),
    "a seed that is no number": ({"seed": "x"}, "seed"),
    "a seed beyond 64 bits": ({"seed": 2**63}, "seed"),
    "a bias of no token": ({"logit_bias": {"x": 1}}, "logit_bias"),
    "a bias of an unknown token": ({"logit_bias": {"257": 1}}, "logit_bias"),
    "a bias that is too large": ({"logit_bias": {"1": 101}}, "logit_bias"),
    "a bias that is text": ({"logit_bias": {"1": "1"}}, "logit_bias"),
    "too many biases": ({"logit_bias": {str(i): 0 for i in range(1025)}}, "logit_bias"),
    "presence_penalty above 2": ({"presence_penalty": 2.5}, "presence_penalty"),
    "frequency_penalty below -2": ({"frequency_penalty": -2.1}, "frequency_penalty"),
    "best_of below n": ({"best_of": 2, "n": 3}, "best_of"),
    "best_of above the most": ({"best_of": 17}, "best_of"),
    "best_of above n in a stream": ({"best_of": 3, "stream": True}, "best_of"),
    "suffix": ({"suffix": "end"}, "suffix"),
    "messages of a chat": ({"messages": [{"role": "user", "content": "x"}]}, "messages"),
    "stream_options without stream": ({"stream_options": {}}, "stream_options"),
    "an unknown argument": ({"topk": 5}, "topk"),
    "an unknown stream option": ({"stream_options": {"x": 1}}, "stream_options.x"),
}


@pytest.mark.parametrize(("arguments", "param"), WRONG.values(), ids=WRONG)
def test_a_wrong_argument_is_named(server, arguments, param):
    text = json.dumps({"prompt": "x", **arguments})
    response = server.client.post(
        "/v1/completions", content=text, headers={"Content-Type": "application/json"}
    )
    error = error_of(response, 400)
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert param.split(".")[-1].rstrip("k") in error["message"] or "token ids" in error["message"]


def test_the_message_says_what_was_got_and_what_is_near(server):
    error = error_of(server.complete(temperature=-2), 400)
    assert error["message"] == "temperature must be greater than or equal to 0; got -2"
    error = error_of(server.complete(max_token=5), 400)
    assert error["message"].endswith("did you mean max_tokens?")
    error = error_of(server.complete(messages=[]), 400)
    assert error["message"].endswith("this is a base model, without chat; give prompt")
    error = error_of(server.complete(logprobs=True), 400)  # as chat completions have it
    assert error["message"] == (
        "logprobs must be a whole number of alternatives from 0 to 20, or null"
    )
    error = error_of(server.complete(suffix="end"), 400)
    assert error["message"] == (
        "suffix must be null or empty: a base model cannot fill in the middle of a text"
    )


def test_an_argument_that_has_one_value_alone_says_which(server):
    error = error_of(server.complete(min_tokens=5), 400)
    assert error["message"] == (
        "min_tokens must be 0: a text may end at once; logit_bias can keep end-of-text out"
    )
    options = {"continuous_usage_stats": True}
    error = error_of(server.complete(stream=True, stream_options=options), 400)
    assert error["param"] == "stream_options"
    assert error["message"] == (
        "stream_options.continuous_usage_stats must be false; include_usage gives the counts at "
        "the end"
    )


@pytest.mark.parametrize("prompt", ["x" * 33, [1] * 33, "x" * 100_000, ["x", "y" * 40]])
def test_a_prompt_that_is_too_long(server, prompt):
    error = error_of(server.complete(prompt=prompt), 400)
    assert error["param"] == "prompt"
    assert error["code"] == "context_length_exceeded"
    assert "at most 32 tokens" in error["message"]


def test_an_unknown_model(server):
    for response in (server.complete(model="gpt-9"), server.client.get("/v1/models/gpt-9")):
        error = error_of(response, 404)
        assert error["code"] == "model_not_found"
        assert "'gpt-9'" in error["message"]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS"])
def test_an_unknown_model_is_not_there_whatever_is_done_with_it(server, method):
    error = error_of(server.client.request(method, "/v1/models/gpt-9"), 404)
    assert error["code"] == "model_not_found"
    response = server.client.request(method, "/v1/models/tiny")
    error_of(response, 405)
    assert response.headers["allow"] == "GET, HEAD"


MALFORMED = {
    "nothing": (b"", "the body must be a JSON object"),
    "half": (b'{"prompt": "x', "the body is not JSON: Unterminated string"),
    "a list": (b"[]", "the body must be a JSON object"),
    "text": (b'"prompt"', "the body must be a JSON object"),
    "invalid UTF-8": (
        b'{"prompt": "\xff\xfe"}',
        "the body is not JSON: it is not UTF-8 at byte 12",
    ),
    "deeply nested": (b'{"prompt": ' + b"[" * 100_000, "the body is not JSON: "),
    "a number of many digits": (b'{"seed": ' + b"9" * 5000 + b"}", "the body is not JSON: "),
    "a null byte": (b'{"prompt": "x"}\x00', "the body is not JSON: Extra data"),
    "half a character as a name": (b'{"prompt": "x", "\\ud800": 1}', "the body must be"),
}


@pytest.mark.parametrize(("body", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_json(server, body, message):
    response = server.client.post(
        "/v1/completions", content=body, headers={"Content-Type": "application/json"}
    )
    error = error_of(response, 400)
    assert error["code"] == "invalid_json"
    assert error["message"].startswith(message)


def test_a_text_in_the_place_of_a_number_is_called_one(server):
    error = error_of(server.complete(seed="1"), 400)
    assert error["message"] == "seed must be a valid integer; got 1 (a text)"


def test_a_refusal_is_short_whatever_is_refused(server):
    response = server.complete(**{"\u00e9" * 100_000: 1})
    assert error_of(response, 400)["code"] == "unknown_argument"
    assert len(response.content) < 2000


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_page_elsewhere_cannot_ask_without_the_browsers_question(server, kind):
    """Only these types may be sent to a stranger's server; JSON needs its consent."""
    headers = {} if kind is None else {"Content-Type": kind}
    response = server.client.post("/v1/completions", content=b'{"prompt": "x"}', headers=headers)
    assert "Content-Type: application/json" in error_of(response, 400)["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("PUT", "/metrics", 405),
        ("POST", "/", 405),
        ("DELETE", "/page.js", 405),
        ("POST", "/openapi.json", 405),
        ("GET", "/v1/chat/completions", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "/nothing", 404),
        ("POST", "/nothing", 404),
        ("PUT", "/v1/embeddings", 404),
        ("OPTIONS", "/v1/nothing", 404),
        ("POST", "/%00", 404),
        ("GET", "/docs", 404),
        ("GET", "/two%0alines", 404),
    ],
)
def test_what_is_not_there_has_the_error_body_too(server, method, path, status):
    response = server.client.request(method, path)
    error_of(response, status)
    assert ("allow" in response.headers) == (status == 405)


def test_a_method_that_a_path_does_not_take_is_answered_with_those_it_takes(server):
    for path, allowed in (
        ("/v1/completions", "POST"), ("/v1/models", "GET, HEAD"), ("/page.js", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ):  # fmt: skip
        assert server.client.request("PATCH", path).headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/responses", "/chat/completions", "/v1/chat/completions/"],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_client_that_asks_for_chat_is_told_what_there_is(server, path, method):
    error = error_of(server.client.request(method, path), 404)
    assert error["message"] == (
        f"Not Found ({method} {path}): this is a base model, without chat; use /v1/completions"
    )


def test_a_base_url_without_v1_is_told(server):
    for path in ("/completions", "/completions/", "/v1/completions/"):
        error = error_of(server.client.post(path, json={}), 404)
        assert error["message"].endswith("did you mean /v1/completions?")
    assert "v1" not in error_of(server.client.post("/v1x"), 404)["message"].replace("/v1x", "")


def test_head_is_answered_where_get_is(server):
    for path in ("/", "/page.js", "/health", "/metrics", "/openapi.json", "/v1/models",
                 "/v1/models/tiny", "/v1/models/other", "/nothing"):  # fmt: skip
        got, head = server.client.get(path), server.client.head(path)
        assert head.status_code == got.status_code
        assert head.content == b""
        assert head.headers["content-type"] == got.headers["content-type"]
        if path != "/metrics":  # its figures go on
            assert head.headers["content-length"] == str(len(got.content))
    assert server.client.head("/v1/completions").status_code == 405


def test_an_object_of_many_arguments(server):
    error = error_of(server.complete(**{str(number): 1 for number in range(65)}), 400)
    assert error["message"] == "the body must have at most 64 entries"


def test_a_hundred_thousand_wrong_entries_cost_no_more_than_one(server):
    for arguments in (
        {"prompt": [None] * 100_000},
        {"stop": [None] * 100_000},
        {"stop_token_ids": [None] * 100_000},
        {"logit_bias": {str(-number): None for number in range(60_000)}},
        {str(number): 1 for number in range(60_000)},
    ):
        assert len(server.complete(**arguments).content) < 1000
