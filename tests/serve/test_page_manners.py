"""Keyboard, focus, selection and room on the page, in a real browser."""

from urllib.parse import quote

import pytest
from browsing import COMPLETIONS, STORY, TOKEN, expect, wait_for_end, written
from canned import error_body, stream_of

pytestmark = pytest.mark.browser
STEPS = {"temperature": ("0.8", "0.85"), "top_p": ("0.95", "0.96"), "min_p": ("0", "0.01"),
         "repetition_penalty": ("1", "1.05"), "top_k": ("50", "51")}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_an_arrow_key_in_a_number_goes_one_step(page, name):
    before, after = STEPS[name]
    page.fill(f"#{name}", before)
    page.focus(f"#{name}")
    page.keyboard.press("ArrowUp")
    assert page.input_value(f"#{name}") == after
    page.keyboard.press("ArrowDown")
    assert page.input_value(f"#{name}") == before


def test_a_number_finer_than_a_step_is_taken(page):
    page.fill("#temperature", "0.123")
    with page.expect_request(COMPLETIONS) as request:
        page.click("#generate")
    assert request.value.post_data_json["temperature"] == 0.123


def test_the_text_of_a_story_can_be_selected_from_a_token_on(page):
    written(page)
    boxes = [page.locator(TOKEN).nth(place).bounding_box() for place in (1, 3)]
    (x, y), (to_x, to_y) = [(box["x"] + 1, box["y"] + box["height"] / 2) for box in boxes]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(to_x, to_y, steps=5)
    page.mouse.up()
    chosen = page.evaluate("getSelection().toString()")
    assert page.locator(TOKEN).nth(2).text_content() in chosen
    expect(page.locator("#alternatives")).to_be_hidden()
    page.locator(TOKEN).nth(5).click()
    expect(page.locator("#alternatives")).to_be_visible()


def test_tab_closes_the_alternatives_and_goes_back_to_the_token(page):
    written(page)
    for key in ("Tab", "Shift+Tab"):
        page.locator(TOKEN).nth(3).click()
        expect(page.locator("#alternatives")).to_be_visible()
        page.keyboard.press(key)
        expect(page.locator("#alternatives")).to_be_hidden()
        expect(page.locator(TOKEN).nth(3)).to_be_focused()


def test_a_button_that_copies_keeps_the_focus(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    page.focus("#link")
    page.keyboard.press("Enter")
    expect(page.locator("#link")).to_have_text("Copied")
    expect(page.locator("#link")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#link")).to_have_text("Copy link")
    expect(page.locator("#link")).to_be_focused()


def test_ctrl_enter_that_is_held_down_asks_once(page):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.focus("#prompt")
    page.keyboard.down("Control")
    for _ in range(5):  # the second and later ones are repeats
        page.keyboard.down("Enter")
    page.keyboard.up("Enter")
    page.keyboard.up("Control")
    wait_for_end(page)
    assert len([url for url in asked if url.endswith("/v1/completions")]) == 1


def by_link(open_page, width, height, fragment):
    """A window of this size with the story of a link: its settings are folded away."""
    page = open_page(f"#{fragment}", viewport={"width": width, "height": height})
    page.click("#generate")
    wait_for_end(page)
    return page


def test_of_a_long_prompt_the_end_is_shown_and_the_rest_on_demand(open_page):
    prompt = "There was a red ball in the big garden. " * 30 + "Then it"
    page = by_link(open_page, 360, 740, f"prompt={quote(prompt)}&max_tokens=10")
    assert page.locator(TOKEN).first.bounding_box()["y"] < 740
    assert prompt not in page.locator(".text").text_content()
    page.click(".more")
    assert page.locator(".text").text_content().startswith(prompt)


def test_on_a_phone_an_error_leaves_the_end_of_the_story_to_be_seen(open_page):
    page = by_link(open_page, 320, 568, "max_tokens=40&seed=7")
    message = "a long error of the server, in many words. " * 12
    page.route(COMPLETIONS, lambda route: route.fulfill(status=400, json=error_body(message)))
    page.click("#generate")
    expect(page.get_by_role("alert")).to_be_visible()
    page.wait_for_function(  # the room at the end follows the bar's height a moment later
        """() => {
            scrollTo(0, document.body.scrollHeight)
            const last = [...document.querySelectorAll(".token")].at(-1).getBoundingClientRect()
            return last.bottom <= document.querySelector(".actions").getBoundingClientRect().top
        }"""
    )


@pytest.mark.parametrize("size", [(640, 400), (740, 360)])
def test_the_alternatives_fit_into_a_low_window(open_page, size):
    page = by_link(open_page, *size, "max_tokens=80&seed=7")
    for place in (2, 30):
        page.locator(TOKEN).nth(place).click()
        box = page.locator("#alternatives").bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= size[1]
        page.keyboard.press("Escape")


def test_a_link_that_leaves_settings_out_has_the_usual_ones(page):
    page.evaluate("location.hash = '#prompt=Abc&seed=3&n=3&temperature=1.5'")
    expect(page.locator("[name=n][value='3']")).to_be_checked()
    page.evaluate("location.hash = '#prompt=Def&seed=4'")
    expect(page.locator("[name=n][value='1']")).to_be_checked()
    assert page.input_value("#prompt") == "Def"
    assert page.input_value("#temperature") == "0.8"


def test_the_controls_stay_in_view_beside_long_stories(page):
    words = [f" word{number}" for number in range(900)]
    page.route(COMPLETIONS, lambda route: route.fulfill(**stream_of("".join(words), words)))
    written(page)
    assert page.locator(STORY).bounding_box()["height"] > 1500
    page.evaluate("scrollTo(0, 1200)")
    assert 0 <= page.locator("#generate").bounding_box()["y"] < 720
