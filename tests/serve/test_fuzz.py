"""The API against its own OpenAPI: nothing that is sent is a 500, and all errors are OpenAI's."""

import pytest
from fake_engine import FakeEngine
from hypothesis import HealthCheck, given, settings
from serving import running
from test_refusals import ERROR

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: make install-dev")
from schemathesis.specs.openapi.checks import positive_data_acceptance  # noqa: E402

RIGHT, WRONG = schemathesis.GenerationMode
CASES = {
    ("/v1/completions", RIGHT): 300,
    ("/v1/completions", WRONG): 300,
    ("/tokenize", RIGHT): 60,
    ("/tokenize", WRONG): 60,
    ("/detokenize", RIGHT): 60,
    ("/detokenize", WRONG): 60,
    ("/tokenizer_info", RIGHT): 5,
    ("/v1/models/{model}", RIGHT): 40,
    ("/v1/models", RIGHT): 5,
    ("/health", RIGHT): 5,
}
"""For each path with arguments as it wants them, and for the one that has some, otherwise."""


@pytest.fixture(scope="module")
def described(served):
    """A server whose limits are not those of the schema, and what it says of itself."""
    with running(served, FakeEngine(slots=32)) as server:
        yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_all_paths_are_fuzzed(described):
    paths = {operation.ok().path for operation in described.get_all_operations()}
    assert paths == {path for path, _ in CASES}


@pytest.mark.parametrize(("path", "mode"), CASES)
def test_whatever_is_sent_is_answered_as_the_api_says(described, path, mode):
    has_body = (path, WRONG) in CASES
    operation = described[path]["POST" if has_body else "GET"]
    statuses = set()

    @settings(
        max_examples=CASES[path, mode], derandomize=True, deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def fuzz(case):
        response = case.call()
        # what the schema allows can still be over a limit of this server, or of this model
        case.validate_response(response, excluded_checks=[positive_data_acceptance])
        statuses.add(response.status_code)
        if response.status_code >= 400:
            assert set(response.json()["error"]) == ERROR

    fuzz()
    assert max(statuses) < 500
    if has_body:
        assert statuses >= ({200} if mode is RIGHT else {400})
