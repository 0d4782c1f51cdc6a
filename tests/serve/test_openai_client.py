"""OpenAI's own Python client, unchanged."""

import pytest
from fake_engine import FakeEngine
from serving import running

openai = pytest.importorskip("openai", reason="needs OpenAI's client: make install-dev")


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_a_completion(client):
    answer = client.completions.create(
        model="tiny", prompt=["Once", "One"], n=2, max_tokens=4, echo=True, seed=3, user="me",
        temperature=0.5, top_p=0.9, stop=["z"], logit_bias={"5": 1}, logprobs=1, best_of=3,
        presence_penalty=0.5, frequency_penalty=-0.5, suffix=None,
        extra_body={"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1},
    )  # fmt: skip
    assert [choice.text for choice in answer.choices] == ["Onceabcd"] * 2 + ["Oneabcd"] * 2
    assert answer.choices[0].finish_reason == "length"
    assert answer.choices[0].logprobs.tokens == [*"Onceabcd"]
    assert answer.usage.total_tokens == 7 + 2 * 3 * 4
    assert answer.model == "tiny"


def test_a_stream(client):
    stream = client.completions.create(
        model="tiny", prompt="x", max_tokens=5, stream=True, stream_options={"include_usage": True}
    )
    *pieces, last = list(stream)
    assert "".join(piece.choices[0].text for piece in pieces) == "abcde"
    assert pieces[-1].choices[0].finish_reason == "length"
    assert last.usage.completion_tokens == 5


def test_a_stream_that_is_left(server, client):
    with client.completions.create(
        model="tiny", max_tokens=2000, stream=True, prompt="x"
    ) as stream:
        next(iter(stream))
    server.wait_until_idle()


def test_models(client):
    (model,) = client.models.list().data
    assert model.id == "tiny"
    assert client.models.retrieve("tiny").owned_by == "gpt-pipeline"


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt-9", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.completions.create(model="tiny", prompt="x", temperature=-1)
    assert wrong.value.param == "temperature"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="tiny", prompt="x" * 100)
    assert long.value.code == "context_length_exceeded"


def test_a_full_queue_and_a_wrong_key_are_the_clients_own_errors(served):
    with running(served, FakeEngine(slots=2, step_s=0.01), queue=1, api_key="right") as server:
        url = f"{server.url}/v1"
        with (
            openai.OpenAI(base_url=url, api_key="wrong") as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.models.list()
        with openai.OpenAI(base_url=url, api_key="right", max_retries=0) as client:
            arguments = {"model": "tiny", "prompt": "x", "max_tokens": 2000}
            with client.completions.create(**arguments, n=2, stream=True) as stream:
                next(iter(stream))
                with pytest.raises(openai.RateLimitError) as full:
                    client.completions.create(**arguments, n=2)
            assert full.value.code == "queue_full"


def test_an_error_in_mid_stream_is_raised(served):
    engine = FakeEngine(slots=1, step_s=0.005)
    with (
        running(served, engine) as server,
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
    ):
        stream = client.completions.create(model="tiny", prompt="x", max_tokens=2000, stream=True)
        next(iter(stream))
        engine.failures = [RuntimeError("broken")]
        with pytest.raises(openai.APIError, match="the model failed"):
            list(stream)


def test_what_other_clients_send_along_is_taken(server):
    """langchain-openai and litellm send every argument, also those that say nothing."""
    answer = server.complete(
        model="tiny", prompt=["x"], temperature=2, top_p=1, frequency_penalty=0, presence_penalty=0,
        n=1, best_of=1, max_tokens=3, logit_bias={}, stop=[], suffix="", user="", seed=None,
        logprobs=None, echo=False, stream=False, stream_options=None,
    )  # fmt: skip
    assert answer.json()["choices"][0]["text"] == "abc"
