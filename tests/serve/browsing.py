"""What tests of the page do in a real browser."""

import re

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make install-dev")
expect = sync_api.expect
COMPLETIONS, STORY, TOKEN = "**/v1/completions", "article.story", ".token"
# seconds of text: hardly ever at an end by itself
LONG = {"temperature": 2, "top_k": 0, "top_p": 1, "max_tokens": 1000}


def ask(page, samples=1, **settings):
    for name, value in {"max_tokens": 40, "seed": 7, **settings}.items():
        page.fill(f"#{name}", str(value))
    page.locator(f"[name=n][value='{samples}']").check()
    page.click("#generate")


def generate(page, samples=1, **settings):
    ask(page, samples, **settings)
    expect(page.locator(STORY)).to_have_count(samples)


def wait_for_tokens(page, count=5):
    expect(page.locator(TOKEN).nth(count - 1)).to_be_attached()


def wait_for_end(page):
    expect(page.locator(STORY)).not_to_have_count(0)
    for story in page.locator(STORY).all():
        ended = re.compile("^(stop|length)$")
        expect(story).to_have_attribute("data-state", ended, timeout=60_000)  # cores may be busy


def written(page, samples=1, **settings) -> list[str]:
    """The texts of stories that are at their end."""
    generate(page, samples, **settings)
    wait_for_end(page)
    return page.locator(".text").all_text_contents()


def shown(page) -> list[str]:
    return [text.strip() for text in page.locator(TOKEN).all_text_contents()]


def choose_another(page) -> str:
    """Choose the best alternative to the token whose alternatives are shown."""
    other = page.locator("#alternatives button:not([aria-current])").first
    word = other.locator(".sign").text_content().strip("␣↵")
    other.click()
    expect(page.locator("#alternatives")).to_be_hidden()
    return word
