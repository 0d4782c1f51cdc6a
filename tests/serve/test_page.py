"""The page in a real browser. What the tests expect holds for any model behind `page_url`."""

import re
from itertools import pairwise

import pytest
from browsing import (
    COMPLETIONS,
    LONG,
    STORY,
    TOKEN,
    choose_another,
    expect,
    generate,
    shown,
    wait_for_end,
    wait_for_tokens,
    written,
)

pytestmark = pytest.mark.browser
SETTINGS = {
    "prompt": "Two lines,\nümläuts & such", "temperature": "1.25", "top_p": "0.9", "top_k": "33",
    "min_p": "0.05", "repetition_penalty": "1.15", "max_tokens": "64", "seed": "1234",
}  # fmt: skip


def test_tokens_stream_in_after_the_prompt(page):
    # the page itself takes the counts: a short story may be over between two looks from here
    page.evaluate(
        """() => {
            window.counts = []
            const look = () => window.counts.push(document.querySelectorAll(".token").length)
            new MutationObserver(look).observe(document.body, {childList: true, subtree: true})
        }"""
    )
    generate(page, prompt="The old man", **LONG)
    wait_for_end(page)
    counts = page.evaluate("window.counts")
    assert counts == sorted(counts)
    assert len(set(counts)) > 10
    expect(page.locator(".text > :first-child")).to_have_text("The old man")


def test_stop_keeps_the_texts_so_far(page):
    # by the page itself: beside other work its story may be over before Playwright can click
    page.evaluate(
        """() => {
            const begun = () => document.querySelector(".token")
            const stop = () => begun() && document.querySelector("#stop").click()
            new MutationObserver(stop).observe(document.body, {childList: true, subtree: true})
        }"""
    )
    generate(page, samples=4, **LONG)
    for story in page.locator(STORY).all():
        expect(story).to_have_attribute("data-state", re.compile("^(stopped|stop)$"))
    assert page.locator(f"{STORY}[data-state=stopped]").count() > 0
    texts = page.locator(".text").all_text_contents()
    page.wait_for_timeout(200)
    assert all(texts)
    assert page.locator(".text").all_text_contents() == texts


def test_a_token_stands_out_the_more_the_less_likely_it_was(page):
    written(page, temperature=1.5, top_k=0, top_p=1, max_tokens=120)
    look = "spans => spans.map(s => [s.dataset.label, getComputedStyle(s).backgroundColor])"
    seen = page.locator(TOKEN).evaluate_all(look)
    chances = [float(label.split()[-1].strip("<%")) for label, _ in seen]
    tints = [float(colour.split(", ")[3].strip(")")) for _, colour in seen]
    # of equal chances, which are rounded, the strongest tint first
    order = sorted(zip(chances, tints, strict=True), key=lambda pair: (pair[0], -pair[1]))
    alphas = [tint for _, tint in order]
    assert len(set(alphas)) > 5
    assert all(high >= low - 0.01 for high, low in pairwise(alphas))


def test_a_click_on_a_token_offers_five_and_goes_on_from_the_chosen_one(page):
    written(page)
    kept = shown(page)[:6]
    page.locator(TOKEN).nth(6).click()
    expect(page.locator("#alternatives button")).to_have_count(5)
    word = choose_another(page)
    wait_for_end(page)
    assert shown(page)[:7] == [*kept, word]
    assert len(shown(page)) > 7


def test_going_another_way_in_one_sample_leaves_the_others_as_they_are(page):
    before = written(page, samples=3)
    page.locator(STORY).nth(1).locator(".token").nth(2).click()
    choose_another(page)
    wait_for_end(page)
    after = page.locator(".text").all_text_contents()
    assert [a == b for a, b in zip(after, before, strict=True)] == [True, False, True]


def test_a_sample_may_go_another_way_while_it_is_written(page):
    generate(page, samples=2, max_tokens=60)
    wait_for_tokens(page)
    page.locator(TOKEN).first.click()
    word = choose_another(page)
    wait_for_end(page)
    assert shown(page)[0] == word
    assert page.locator(STORY).nth(1).locator(".token").count() > 5


def test_the_keyboard_alone_is_enough(page):
    page.focus("#prompt")
    page.keyboard.press("Control+Enter")
    wait_for_end(page)
    # past Generate (Stop is disabled now) to "Go to the stories", there two tokens on
    for key in ["Tab", "Tab", "Enter", "ArrowRight", "ArrowRight", "Enter"]:
        page.keyboard.press(key)
    first_two = shown(page)[:2]
    page.keyboard.press("ArrowDown")
    word = page.locator(":focus .sign").text_content().strip("␣↵")
    page.keyboard.press("Enter")
    expect(page.locator(":focus")).to_have_text(word)
    assert shown(page)[:3] == [*first_two, word]


def test_escape_closes_the_alternatives_and_focuses_the_token_again(page):
    written(page)
    page.locator(TOKEN).nth(3).click()
    expect(page.locator("#alternatives")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#alternatives")).to_be_hidden()
    expect(page.locator(TOKEN).nth(3)).to_be_focused()


def test_a_link_restores_prompt_settings_and_seed(page, open_page):
    for name, value in SETTINGS.items():
        page.fill(f"#{name}", value)
    page.locator("[name=n][value='3']").check()
    expect(page).to_have_url(re.compile("n=3"))
    other = open_page("#" + page.url.split("#")[1])
    assert {name: other.input_value(f"#{name}") for name in SETTINGS} == SETTINGS
    expect(other.locator("[name=n][value='3']")).to_be_checked()
    expect(other.locator(STORY)).to_have_count(0)


def test_bad_values_in_a_link_are_clamped_or_left_out(open_page):
    page = open_page("#temperature=99&top_p=-1&top_k=abc&n=7&seed=1.6&min_p=&what=1")
    values = {name: float(page.input_value(f"#{name}")) for name in [*SETTINGS][1:]}
    assert (values["temperature"], values["seed"]) == (2, 2)
    assert 0 < values["top_p"] <= 1
    assert 0 <= values["min_p"] <= 1
    expect(page.locator("[name=n][value='4']")).to_be_checked()


def test_the_link_and_a_story_can_be_copied(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    [text] = written(page, seed=77)
    page.click("#link")
    expect(page.locator("#link")).to_have_text("Copied")
    assert "seed=77" in page.url
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    page.get_by_label("Copy story 1").click()
    expect(page.get_by_label("Copy story 1")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == text


def test_the_same_seed_gives_the_same_text(page):
    first = written(page, seed=5)
    page.click("#dice")
    assert page.input_value("#seed") != "5"
    assert written(page, seed=6) != first
    assert written(page, seed=5) == first


def test_several_samples_stand_side_by_side(page):
    assert len(set(written(page, samples=4))) == 4
    assert len({story.bounding_box()["x"] for story in page.locator(STORY).all()}) > 1
    for status in page.locator(".status").all_text_contents():
        assert re.match(r"\d+ tokens · \d+ tokens/s · ", status)


def test_a_phone_needs_no_sideways_scroll(open_page):
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True)
    page.click("#settings summary")
    written(page, samples=2)
    page.locator(TOKEN).last.tap()
    expect(page.locator("#alternatives")).to_be_visible()
    box = page.locator("#alternatives").bounding_box()
    assert 0 <= box["x"] <= 360 - box["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_dark_mode_has_other_colours(page):
    paper = "body => getComputedStyle(body).backgroundColor"
    light = page.locator("body").evaluate(paper)
    page.emulate_media(color_scheme="dark")
    assert page.locator("body").evaluate(paper) != light


def test_nothing_moves_for_those_who_want_less_motion(open_page):
    page = open_page(reduced_motion="reduce")
    generate(page)
    wait_for_tokens(page)
    motions = "spans => spans.map(span => getComputedStyle(span).animationName)"
    assert set(page.locator(TOKEN).evaluate_all(motions)) == {"none"}


def test_another_way_is_gone_in_the_context_that_the_story_began_in(page, page_url):
    """The page sends the end-of-text before the prompt, which it does not show."""
    card = page.request.get(f"{page_url}/v1/models").json()["data"][0]
    assert card["add_bos_token"]
    for prompt in ("Once upon a time", ""):
        own = page.request.post(f"{page_url}/tokenize", data={"prompt": prompt}).json()["tokens"]
        written(page, prompt=prompt, max_tokens=12)
        page.locator(TOKEN).nth(3).click()
        with page.expect_request(COMPLETIONS) as second:
            choose_another(page)
        sent = second.value.post_data_json["prompt"]
        assert sent[: len(own) + 1] == [card["eot_id"], *own]
        assert len(sent) == len(own) + 1 + 4
        wait_for_end(page)
        assert page.locator(".text").inner_text().strip().startswith(prompt)
