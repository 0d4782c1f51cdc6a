"""Fixtures that every part's tests may use."""

import gc
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import torch

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel

pytest_plugins = ["must_run"]
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real text and GPT-2's files (CONTRIBUTING.md); a clone without them skips what needs them."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            "needs ../shared/data: TinyStories and GPT-2's vocabulary (see CONTRIBUTING.md)"
        )
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of a few thousand parameters lose time to a second thread, and gain none."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def no_signal_is_ignored() -> None:
    """Commands that the tests start can be signalled, also under `nohup` or behind a shell's &.

    A process inherits that a signal is ignored; a handler it does not inherit.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture(scope="session", autouse=True)
def nothing_frozen_at_the_exit() -> Iterator[None]:
    """A command run in here freezes what others imported; Triton would call that a leak."""
    yield
    gc.unfreeze()


@pytest.fixture
def gpt_config() -> GPTConfig:
    """Sizes pairwise different: V=37, C=24, ff=60, T<=11, H=3, D=8, two layers."""
    sizes = """
    model.vocab_size=37 model.embed_dim=24 model.ff_hidden_dim=60 model.max_length=11
    model.num_heads=3 model.num_layers=2 model.qkv_bias=true
    """
    return compose(["model=tiny", *sizes.split()]).config.gpt_config()


@pytest.fixture
def large_weights() -> Callable[[GPTConfig, float], GPTModel]:
    """Makes a model with random weights everywhere: every term of the computation is seen."""

    def make(gpt_config: GPTConfig, alpha: float) -> GPTModel:
        torch.manual_seed(3)
        model = GPTModel(gpt_config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=alpha)
        return model.eval()

    return make


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape lone surrogates, as of undecodable file names: xdist cannot send them."""
    report = yield
    report.sections = [(name, _encodable(text)) for name, text in report.sections]
    if report.longrepr is not None and _encodable(str(report.longrepr)) != str(report.longrepr):
        report.longrepr = _encodable(str(report.longrepr))
    return report


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
