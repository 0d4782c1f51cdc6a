"""The tokenizer over HTTP, as vLLM serves it and as lm-evaluation-harness asks for it."""

import json

import pytest
from fake_engine import EOT
from test_refusals import error_of

from gpt_pipeline.tokenizer import END_OF_TEXT


def tokenize(server, **arguments):
    return server.client.post("/tokenize", json=arguments)


def detokenize(server, **arguments):
    return server.client.post("/detokenize", json=arguments)


@pytest.mark.parametrize("add_special_tokens", [True, False, None])
def test_the_tokens_of_a_text_never_have_a_leading_end_of_text(server, add_special_tokens):
    answer = tokenize(server, prompt="Hi", add_special_tokens=add_special_tokens).json()
    assert answer == {"count": 2, "max_model_len": 32, "tokens": [72, 105], "token_strs": None}
    assert tokenize(server, prompt="").json()["tokens"] == []


def test_tokens_may_be_given_as_texts(server):
    answer = tokenize(server, model="tiny", prompt="a\u20ac", return_token_strs=True).json()
    assert answer["token_strs"] == ["a", "bytes:\\xe2", "bytes:\\x82", "bytes:\\xac"]


def test_the_text_of_tokens(server):
    assert detokenize(server, tokens=[72, 105, 0xE2]).json() == {"prompt": "Hi\ufffd"}
    assert detokenize(server, tokens=[]).json() == {"prompt": ""}
    assert detokenize(server, model="tiny", tokens=[EOT]).json() == {"prompt": END_OF_TEXT}


def test_the_end_of_text_alone_is_the_token_that_clients_ask_for(server):
    info = server.client.get("/tokenizer_info").json()
    for name in ("eos_token", "bos_token"):
        assert tokenize(server, prompt=info[name]).json()["tokens"] == [EOT]
    among_text = tokenize(server, prompt=f"a{END_OF_TEXT}").json()["tokens"]
    assert among_text == [*b"a<|endoftext|>"]  # text, as everywhere
    assert info["model_max_length"] == 32
    assert info["vocab_size"] == 257
    assert info["chat_template"] is None


def test_a_text_of_a_megabyte_is_tokenized_beside_the_event_loop(server):
    text = "ab " * 300_000
    answer = tokenize(server, prompt=text).json()
    assert answer["count"] == 900_000
    assert detokenize(server, tokens=answer["tokens"][:250_000]).json()["prompt"] == text[:250_000]


@pytest.mark.parametrize(
    ("path", "arguments", "message"),
    [
        ("/tokenize", {}, "prompt must be given"),
        ("/tokenize", {"prompt": None}, "prompt must be a valid string; got null"),
        ("/tokenize", {"prompt": 7}, "prompt must be a valid string; got 7"),
        ("/tokenize", {"prompt": ["a"]}, "prompt must be a valid string; got ['a']"),
        ("/tokenize", {"prompt": "\ud800"}, "prompt: text must be valid Unicode"),
        ("/tokenize", {"prompts": "a", "prompt": "a"}, "did you mean prompt?"),
        ("/tokenize", {"messages": []}, "prompt must be given"),
        ("/detokenize", {}, "tokens must be given"),
        ("/detokenize", {"tokens": "a"}, "tokens must be a valid list; got a (a text)"),
        ("/detokenize", {"tokens": [1, "2"]}, "tokens.1 must be a valid integer; got 2 (a text)"),
        ("/detokenize", {"tokens": [-1]}, "tokens.0 must be greater than or equal to 0; got -1"),
        ("/detokenize", {"tokens": [257]}, "tokens must be ids below 257; got 257"),
        ("/detokenize", {"tokens": [1], "token": 1}, "did you mean tokens?"),
    ],
)
def test_a_mistake_is_named(server, path, arguments, message):
    response = server.client.post(
        path, content=json.dumps(arguments), headers={"Content-Type": "application/json"}
    )
    error = error_of(response, 400)
    assert message in error["message"]


def test_another_model_and_another_type_are_refused(server):
    assert error_of(tokenize(server, prompt="a", model="x"), 404)["code"] == "model_not_found"
    assert error_of(detokenize(server, tokens=[1], model="x"), 404)["code"] == "model_not_found"
    response = server.client.post("/tokenize", content=b'{"prompt": "a"}')
    assert "Content-Type: application/json" in error_of(response, 400)["message"]
    error_of(server.client.get("/tokenize"), 405)
