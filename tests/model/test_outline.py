from torch import Tensor

from gpt_pipeline.config import Architecture
from gpt_pipeline.model import GPTModel, outline


def test_an_outline_has_every_name_and_shape_and_no_memory(architecture: Architecture) -> None:
    drawn = outline(architecture)
    assert {name: p.shape for name, p in drawn.state_dict().items()} == {
        name: p.shape for name, p in GPTModel(architecture).state_dict().items()
    }
    assert all(parameter.is_meta for parameter in drawn.parameters())


def test_an_outline_takes_weights(model: GPTModel, architecture: Architecture) -> None:
    made = outline(architecture)
    made.to_empty(device="cpu")
    made.load_state_dict(model.state_dict())
    weights: dict[str, Tensor] = made.state_dict()
    assert all(weights[name].equal(value) for name, value in model.state_dict().items())
