"""What the page makes of answers that the server may give, in a real browser."""

import pytest
from browsing import (
    COMPLETIONS,
    STORY,
    TOKEN,
    ask,
    choose_another,
    expect,
    shown,
    wait_for_end,
    written,
)
from canned import error_body, stream_of

pytestmark = pytest.mark.browser


def answer_with(page, **answer):
    page.route(COMPLETIONS, lambda route: route.fulfill(**answer))


def test_an_error_of_the_server_is_said_as_it_came(page):
    answer_with(page, status=400, json=error_body("temperature is 9; 2 is the most"))
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("temperature is 9; 2 is the most")
    expect(page.locator("#stop")).to_be_disabled()
    page.unroute(COMPLETIONS)
    page.click("#generate")
    expect(page.get_by_role("alert")).to_have_text("")


def test_a_missing_key_is_asked_for_and_then_sent(page):
    answer_with(page, status=401, json=error_body("an API key is needed"))
    ask(page)
    expect(page.locator("#key")).to_be_focused()
    page.unroute(COMPLETIONS)
    page.keyboard.type("secret")
    with page.expect_request(COMPLETIONS) as request:
        page.keyboard.press("Enter")
    assert request.value.headers["authorization"] == "Bearer secret"
    assert "secret" not in page.url


def test_a_lost_connection_is_said(page):
    page.route(COMPLETIONS, lambda route: route.abort())
    ask(page)
    expect(page.get_by_role("alert")).to_contain_text("connection")
    expect(page.locator(STORY)).to_have_count(0)
    expect(page.locator("#welcome")).to_be_visible()


def test_a_request_that_brings_nothing_leaves_the_stories_that_are_there(page):
    before = written(page, samples=2)
    answer_with(page, status=400, json=error_body("the prompt is too long"))
    ask(page, samples=3, prompt="another")
    expect(page.get_by_role("alert")).to_have_text("the prompt is too long")
    assert page.locator(".text").all_text_contents() == before
    expect(page.locator("#stop")).to_be_disabled()


def test_another_way_that_brings_nothing_leaves_the_story_as_it_was(page):
    before = written(page)
    states = "stories => stories.map(s => s.dataset.state)"
    ended = page.locator(STORY).evaluate_all(states)
    page.route(COMPLETIONS, lambda route: route.abort())
    page.locator(TOKEN).nth(3).click()
    choose_another(page)
    expect(page.get_by_role("alert")).to_contain_text("connection")
    assert page.locator(".text").all_text_contents() == before
    assert page.locator(STORY).evaluate_all(states) == ended
    expect(page.locator(TOKEN).nth(3)).to_be_focused()
    page.unroute(COMPLETIONS)
    page.keyboard.press("Enter")  # and it may be gone on from again
    word = choose_another(page)
    wait_for_end(page)
    assert shown(page)[3] == word


def test_two_ways_that_bring_nothing_leave_the_story_as_it_was_too(page):
    before = written(page)
    asked = []

    def fail(route):
        asked.append(route)
        if len(asked) > 1:  # the first waits
            route.abort()

    page.route(COMPLETIONS, fail)
    page.locator(TOKEN).nth(5).click()
    choose_another(page)
    page.locator(TOKEN).nth(2).click()
    choose_another(page)
    expect(page.get_by_role("alert")).to_contain_text("connection")
    assert page.locator(".text").all_text_contents() == before


def test_a_key_that_no_request_can_carry_is_told(page):
    answer_with(page, status=401, json=error_body("an API key is needed"))
    ask(page)
    page.fill("#key", "\u043a\u043b\u044e\u0447")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The server does not accept this API key.")


def test_the_end_of_a_text_is_a_token_to_go_on_from(page):
    answer_with(page, **stream_of(" a b", [" a", " b"], end=True))
    written(page)
    end = page.locator(f"{TOKEN}.end")
    expect(end).to_have_count(1)
    end.click()
    expect(page.locator("#alternatives button").first).to_contain_text("end of text")
    answer_with(page, **stream_of(" c", [" c"]))
    word = choose_another(page)
    wait_for_end(page)
    assert shown(page) == ["a", "b", word, "c"]


def test_bytes_that_make_no_character_can_be_seen_and_told_apart(page):
    answer_with(page, **stream_of(" a", [" a", "bytes:\\xf0\\x9f"]))
    written(page)
    chip = page.locator(f"{TOKEN}.bytes")
    expect(chip).to_be_visible()
    expect(chip).to_have_attribute("data-bytes", "byte F0 9F")
    assert chip.bounding_box()["width"] > 20
    chip.click()
    expect(page.locator("#alternatives .sign").first).to_contain_text("byte F0 9F")


def test_the_focus_waits_in_the_text_where_no_token_is_left(page):
    """The first token is replaced by a part of a character: there is nothing to see yet."""
    answer_with(page, **stream_of(" a b", [" a", " b"], other="bytes:\\xf0"))
    written(page)
    waiting = []
    page.route(COMPLETIONS, lambda route: waiting.append(route))
    page.locator(TOKEN).first.click()
    choose_another(page)
    expect(page.locator(TOKEN)).to_have_count(0)
    expect(page.locator(".text")).to_be_focused()
    waiting[0].abort()
    expect(page.locator(TOKEN)).to_have_count(2)
    expect(page.locator(TOKEN).first).to_be_focused()


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


def test_the_models_own_penalties_go_along_with_every_request(page):
    def with_penalties(route):
        models = route.fetch().json()
        models["data"][0]["defaults"] |= {"presence_penalty": 0.5, "frequency_penalty": -0.25}
        route.fulfill(json=models)

    page.route("**/v1/models", with_penalties)
    page.reload()
    expect(page.locator("#facts")).to_be_visible()
    with page.expect_request(COMPLETIONS) as first:
        written(page)
    page.locator(TOKEN).nth(3).click()
    with page.expect_request(COMPLETIONS) as second:
        choose_another(page)
    wait_for_end(page)
    for asked in (first, second):
        sent = asked.value.post_data_json
        assert (sent["presence_penalty"], sent["frequency_penalty"]) == (0.5, -0.25)
