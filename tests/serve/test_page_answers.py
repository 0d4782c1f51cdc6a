"""What the page makes of answers that the server may give, in a real browser."""

import pytest
from browsing import COMPLETIONS, STORY, expect, generate, shown, written
from canned import error_body, stream_of

pytestmark = pytest.mark.browser


def answer_with(page, **answer):
    page.route(COMPLETIONS, lambda route: route.fulfill(**answer))


def test_an_error_of_the_server_is_said_as_it_came(page):
    answer_with(page, status=400, json=error_body("temperature is 9; 2 is the most"))
    generate(page)
    expect(page.get_by_role("alert")).to_have_text("temperature is 9; 2 is the most")
    expect(page.locator("#stop")).to_be_disabled()
    page.unroute(COMPLETIONS)
    page.click("#generate")
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_missing_key_is_asked_for_and_then_sent(page):
    answer_with(page, status=401, json=error_body("an API key is needed"))
    generate(page)
    expect(page.locator("#key")).to_be_focused()
    page.unroute(COMPLETIONS)
    page.keyboard.type("secret")
    with page.expect_request(COMPLETIONS) as request:
        page.keyboard.press("Enter")
    assert request.value.headers["authorization"] == "Bearer secret"
    assert "secret" not in page.url


def test_a_lost_connection_is_said(page):
    page.route(COMPLETIONS, lambda route: route.abort())
    generate(page)
    expect(page.get_by_role("alert")).to_contain_text("connection")
    expect(page.locator(STORY)).to_have_attribute("data-state", "failed")


def test_what_a_model_says_is_text_and_never_markup(page):
    markup = "<img src=x onerror=alert(1)>"
    answer_with(page, **stream_of(markup, [markup]))
    [text] = written(page)
    assert text.endswith(markup)
    assert page.locator(".text img").count() == 0


def test_a_character_of_several_tokens_is_one_piece(page):
    answer_with(page, **stream_of(" dé t", [" d", "bytes:\\xc3", "bytes:\\xa9", " t"]))
    [text] = written(page)
    assert text.endswith(" dé t")
    assert shown(page) == ["d", "é", "t"]


def test_no_request_leaves_the_origin(page, page_url):
    addresses = []
    page.on("request", lambda request: addresses.append(request.url))
    page.reload()
    written(page)
    assert len(addresses) > 5
    assert all(address.startswith((page_url, "data:")) for address in addresses)
