"""A text prompt begins a document: the model reads end-of-text before it, and nobody sees that."""

from dataclasses import replace

import pytest
from fake_engine import EOT, FakeEngine
from serving import running

from gpt_pipeline.inference import score

CONTEXT = 32


def read(server, **arguments):
    """What the engine was asked to read for the only choice, and the answer."""
    response = server.complete(max_tokens=1, logprobs=0, **arguments)
    assert response.status_code == 200, response.text
    return server.engine.joined[-1].prompt, response.json()


@pytest.fixture
def without(served):
    """Servers on which nothing is put before a text: as configured, and as it was trained."""
    off = replace(served, sampling=replace(served.sampling, add_bos_token=False))
    return {"configured": off, "trained": replace(served, trained_with_eot=False)}


@pytest.mark.parametrize(
    ("asked", "configured", "trained"),
    [(None, False, False), (True, True, False), (False, False, False)],
)
def test_who_decides(served, without, asked, configured, trained):
    """The request, else the key; but never for a model that was not trained so."""
    with running(served, FakeEngine()) as server:
        prompt, _ = read(server, prompt="Hi", add_special_tokens=asked)
        assert prompt == ((72, 105) if asked is False else (EOT, 72, 105))
        card = server.client.get("/v1/models").json()["data"][0]
        assert (card["eot_id"], card["add_bos_token"]) == (EOT, True)
    for name, expected in (("configured", configured), ("trained", trained)):
        with running(without[name], FakeEngine()) as server:
            prompt, _ = read(server, prompt="Hi", add_special_tokens=asked)
            assert prompt == ((EOT, 72, 105) if expected else (72, 105))
            card = server.client.get("/v1/models").json()["data"][0]
            assert card["add_bos_token"] is False


@pytest.mark.parametrize("asked", [None, True])
def test_token_ids_are_taken_as_they_are(server, asked):
    for prompt in ([72, 105], [[72, 105]], [EOT, 72]):
        ids, answer = read(server, prompt=prompt, add_special_tokens=asked)
        own = prompt[0] if isinstance(prompt[0], list) else prompt
        assert ids == tuple(own)
        assert answer["usage"]["prompt_tokens"] == 2


@pytest.mark.parametrize("length", [CONTEXT - 1, CONTEXT])
def test_a_text_that_fills_the_context_has_no_room_for_it(server, length):
    ids, answer = read(server, prompt="x" * length)
    assert len(ids) == CONTEXT
    assert (ids[0] == EOT) == (length < CONTEXT)
    assert answer["usage"]["prompt_tokens"] == length


def test_it_is_never_shown_nor_counted(server):
    arguments = {"prompt": "Hi", "echo": True}
    ids, answer = read(server, **arguments)
    assert ids == (EOT, 72, 105)
    (choice,) = answer["choices"]
    assert choice["text"] == "Hia"
    assert choice["prompt_token_ids"] == [72, 105]
    assert choice["logprobs"]["tokens"] == ["H", "i", "a"]
    assert choice["logprobs"]["text_offset"] == [0, 1, 2]
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3}
    first, *_ = server.events(**arguments, max_tokens=1)
    assert first["choices"][0]["prompt_token_ids"] == [72, 105]


@pytest.mark.parametrize("add", [True, False])
def test_an_echoed_text_is_scored_in_the_context_that_it_is_continued_in(real, served, add):
    arguments = {"prompt": "Hello", "echo": True, "logprobs": 1, "max_tokens": 0}
    got = real.complete(**arguments, add_special_tokens=add).json()["choices"][0]["logprobs"]
    before = [EOT] if add else []
    sampled = score(served.backend, [*before, *b"Hello"], logprobs=1)[len(before) :]
    assert got["token_logprobs"][0] is None  # as in OpenAI's API, though it could be told
    assert got["top_logprobs"][0] == {}
    assert got["token_logprobs"][1:] == [one.logprob for one in sampled[1:]]
    assert got["token_ids"] == [*b"Hello"]


def test_a_text_is_continued_as_its_ids_behind_end_of_text(real):
    settings = {"max_tokens": 20, "seed": 3, "logprobs": 0}
    answers = [
        real.complete(prompt=prompt, **settings, **others).json()["choices"][0]
        for prompt, others in (
            ("Once", {}), ([EOT, *b"Once"], {}),
            ("Once", {"add_special_tokens": False}), ([*b"Once"], {}),
        )
    ]  # fmt: skip
    with_it, as_ids, without_it, bare = [answer["text"] for answer in answers]
    assert with_it == as_ids
    assert without_it == bare
    assert with_it != bare
