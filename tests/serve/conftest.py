"""Servers of a model of a few thousand random weights, with a token for each byte; a browser."""

import shutil

import pytest
import torch
from fake_engine import FakeEngine
from small_run import start

from gpt_pipeline.config import Sampling
from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel
from gpt_pipeline.tokenizer import byte_tokenizer


@pytest.fixture(scope="session")
def served():
    """Context 32, vocabulary 257."""
    from serving import SIZES

    from gpt_pipeline.inference import plain_backend
    from gpt_pipeline.serve import Served  # the page's tests need neither FastAPI nor this

    torch.manual_seed(3)
    model = GPTModel(compose(SIZES).config.gpt_config())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.5)
    sampling = Sampling(temperature=0.8, top_k=50, top_p=0.95, max_new_tokens=250)
    backend = plain_backend(model.eval())
    return Served("tiny", backend, byte_tokenizer(), "Once", sampling, 1_700_000_000)


@pytest.fixture(scope="module")
def server(served):
    """A server whose model says the alphabet."""
    from serving import running

    with running(served, FakeEngine()) as running_server:
        yield running_server


@pytest.fixture(scope="module")
def real(served):
    """A server with the model of random weights."""
    from serving import running

    with running(served, slots=4) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def page_url():
    """Where the command serves the model that ships, and its page."""
    from gpt_pipeline.cli.checkpoint import SHIPPED

    process = start("serve", f"checkpoint.load={SHIPPED}", "serve.port=0")
    printed = []
    for line in process.stdout:
        printed.append(line)
        if line.startswith("serving"):
            break
    else:
        pytest.fail(f"the server has ended: {''.join(printed)}")
    yield printed[-1].split(" on ")[1].split()[0]
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture(scope="module")
def chromium():
    """Not for the whole session: while Playwright is open, nothing else here can use asyncio."""
    from browsing import sync_api

    found = shutil.which("chromium")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, page_url):
    """Opens the page in a context of its own; no test may leave an error in its console."""
    from browsing import expect

    contexts, said = [], []

    def opened(fragment="", **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append((message.type, message.text)))
        page.on("pageerror", lambda error: said.append(("error", str(error))))
        page.goto(page_url + fragment)
        expect(page.locator("#facts")).to_be_visible()
        return page

    yield opened
    for context in contexts:
        context.close()
    # Chromium has a word of its own on an answer that is no 200
    said = [text for kind, text in said if kind == "error" and "Failed to load" not in text]
    assert said == []


@pytest.fixture
def page(open_page):
    return open_page()
