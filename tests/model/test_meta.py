from torch import Tensor

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model import GPTModel, meta_model


def test_an_outline_has_every_name_and_shape_and_no_memory(gpt_config: GPTConfig) -> None:
    drawn = meta_model(gpt_config)
    assert {name: p.shape for name, p in drawn.state_dict().items()} == {
        name: p.shape for name, p in GPTModel(gpt_config).state_dict().items()
    }
    assert all(parameter.is_meta for parameter in drawn.parameters())


def test_an_outline_takes_weights(model: GPTModel, gpt_config: GPTConfig) -> None:
    made = meta_model(gpt_config)
    made.to_empty(device="cpu")
    made.load_state_dict(model.state_dict())
    weights: dict[str, Tensor] = made.state_dict()
    assert all(weights[name].equal(value) for name, value in model.state_dict().items())
