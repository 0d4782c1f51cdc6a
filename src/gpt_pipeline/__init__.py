"""Text in, a small trained GPT out. The Python API is described in docs/python-api.md.

Importing the package loads neither torch nor anything else of weight; the first use of a name does.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt_pipeline.api import (
        LanguageModel,
        SamplingSettings,
        Score,
        TrainResult,
        evaluate,
        load,
        train,
    )

__version__ = "0.1.0"
__all__ = ["LanguageModel", "SamplingSettings", "Score", "TrainResult", "evaluate", "load", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gpt_pipeline import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
