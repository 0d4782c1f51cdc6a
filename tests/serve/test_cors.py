"""Pages of other origins: which may use the API, and that they can read why they may not."""

import inspect

import pytest
from fake_engine import FakeEngine
from serving import CONFIG, running
from test_refusals import error_of

from gpt_pipeline.cli.serve import _check
from gpt_pipeline.config.compose import compose
from gpt_pipeline.errors import ConfigError

pytest.importorskip("fastapi", reason="needs FastAPI: make install-dev")
from starlette.middleware.cors import CORSMiddleware

PAGE, OTHER = "https://notebook.example", "https://other.example"
ALLOWED = "access-control-allow-origin"


def preflight(server, origin, method="POST", path="/v1/completions", network=None):
    """The browser's question, which brings no key."""
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,x-stainless-lang",
    }
    if network is not None:
        headers["Access-Control-Request-Private-Network"] = network
    return server.client.options(path, headers=headers)


def test_no_page_elsewhere_may_ask_where_no_origin_is_given(server):
    assert preflight(server, PAGE).status_code == 405
    response = server.client.get("/v1/models", headers={"Origin": PAGE})
    assert ALLOWED not in response.headers


@pytest.mark.parametrize("origins", [[PAGE], ["*"]])
def test_a_page_of_an_origin_that_is_given_may_ask(served, origins):
    with running(served, FakeEngine(), cors_origins=origins, api_key="s3cret") as server:
        asked = preflight(server, PAGE)
        assert asked.status_code == 200
        assert asked.headers[ALLOWED] in (PAGE, "*")
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "x-stainless-lang" in asked.headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in asked.headers
        headers = {"Origin": PAGE, "Authorization": "Bearer s3cret"}
        for arguments in ({"prompt": "x", "max_tokens": 1}, {"stream": True}):
            made = server.client.post("/v1/completions", json=arguments, headers=headers)
            assert made.status_code == 200
            assert made.headers[ALLOWED] in (PAGE, "*")
        assert server.client.options("/v1/models", headers=headers).status_code == 405


def test_a_page_may_ask_from_a_public_network_where_the_browser_asks_for_it(served):
    parameters = inspect.signature(CORSMiddleware).parameters
    if "allow_private_network" not in parameters:
        pytest.skip("needs a newer Starlette: make install-dev")
    with running(served, FakeEngine(), cors_origins=[PAGE]) as server:
        asked = preflight(server, PAGE, network="true")
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-private-network"] == "true"
        assert preflight(server, OTHER, network="true").status_code == 400
        assert "access-control-allow-private-network" not in preflight(server, PAGE).headers


def test_a_starlette_that_knows_no_private_network_is_good_enough(served, monkeypatch):
    class Older(CORSMiddleware):
        def __init__(self, app, allow_origins, allow_methods, allow_headers, expose_headers):
            super().__init__(
                app, allow_origins, allow_methods, allow_headers, expose_headers=expose_headers
            )

    monkeypatch.setattr("gpt_pipeline.serve.app.CORSMiddleware", Older)
    with running(served, FakeEngine(), cors_origins=[PAGE]) as server:
        assert preflight(server, PAGE).status_code == 200


def test_a_page_of_another_origin_may_not(served):
    with running(served, FakeEngine(), cors_origins=[PAGE]) as server:
        assert preflight(server, OTHER).status_code == 400
        response = server.client.get("/v1/models", headers={"Origin": OTHER})
        assert ALLOWED not in response.headers
        assert preflight(server, PAGE, method="DELETE").status_code == 400


def test_a_page_can_read_every_refusal(served, monkeypatch, caplog):
    """A browser hides an answer without the header, and the page could say nothing of it."""
    with running(served, FakeEngine(slots=1), cors_origins=[PAGE], api_key="right") as server:
        headers = {"Origin": PAGE, "Authorization": "Bearer right"}
        complete = {"method": "POST", "url": "/v1/completions", "headers": headers}
        answers = {
            401: server.client.get("/v1/models", headers={"Origin": PAGE}),
            404: server.client.get("/nothing", headers=headers),
            405: server.client.get("/v1/completions", headers=headers),
            400: server.client.request(**complete, json={"n": 0}),
        }
        too_large = server.client.request(**complete, content=b" " * (CONFIG.max_body_bytes + 1))
        with monkeypatch.context() as broken:
            broken.setattr(server.scheduler, "submit", None)
            answers[500] = server.client.request(**complete, json={})
        for status, response in [*answers.items(), (400, too_large)]:
            error_of(response, status)
            assert response.headers[ALLOWED] == PAGE, status
            assert "origin" in response.headers["vary"].lower()
        metrics = server.client.get("/metrics", headers=headers).text
    assert 'path="/v1/completions",status="500"} 1.0' in metrics
    assert "Exception in ASGI application" in caplog.text


def test_a_wrong_host_is_refused_beside_origins_too(served):
    with running(served, FakeEngine(), cors_origins=[PAGE]) as server:
        headers = {"Origin": PAGE, "Host": "evil.example"}
        response = server.client.get("/v1/models", headers=headers)
        assert error_of(response, 403)["code"] == "wrong_host"
        assert response.headers[ALLOWED] == PAGE


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example/",
        "a.example",
        "https://a.example/page",
        "https://a b",
        "HTTP://A",
        "",
        "http://localhost:*",
        "https://*.example.com",
        "https://A.Example",
        "https://*",
        "https://a.example:443",
        "http://a.example:80",
        "http://[::1]:80",
        "https://a.example:",
        "https://a.example:0443",
        "https://user@a.example",
        "https://a.example?x",
        "https://ä.example",
    ],
)
def test_what_no_browser_calls_an_origin_is_refused(origin):
    with pytest.raises(ConfigError, match=r"serve\.cors_origins must be a list of origins") as told:
        compose([f"serve.cors_origins=['{origin}']"])
    assert len(told.value.problems) == 1
    assert "no wildcard within" in told.value.problems[0]


def test_origins_are_taken_as_browsers_name_them(caplog):
    word = "serve.cors_origins=[https://a.example,http://localhost:3000,'null',*,tauri://localhost]"
    assert compose([word]).config.serve.cors_origins[1:4] == ["http://localhost:3000", "null", "*"]
    others = [
        "http://a.example:443", "https://a.example:80", "http://[::1]:3000",
        "chrome-extension://abc", "https://xn--4ca.example", "http://127.0.0.1:8080",
    ]  # fmt: skip
    word = f"serve.cors_origins=[{','.join(map(repr, others))}]"
    assert compose([word]).config.serve.cors_origins == others
    for origins, key, warned in ((["*"], None, True), (["*"], "key", False), ([PAGE], None, False)):
        caplog.clear()
        _check(CONFIG.model_copy(update={"cors_origins": origins, "api_key": key}))
        assert bool(caplog.records) == warned
