"""What a token costs, and which parameters it is multiplied with."""

from torch import nn

from gpt_pipeline.metrics import flops_per_token, multiplied_parameters


def test_a_parameter_costs_six_and_attention_half_of_the_square():
    assert flops_per_token(1000, num_layers=0, embed_dim=7, max_length=11) == 6000
    # a layer's queries times keys, and weights times values: 2 x 2 x 7 x 11 forward, twice that
    # backward, and half of it is masked
    assert (
        flops_per_token(0, num_layers=3, embed_dim=7, max_length=11) == 3 * 3 * 2 * 2 * 7 * 11 / 2
    )


class Model(nn.Module):
    """V=13, C=5, T<=3."""

    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(13, 5)
        self.position = nn.Embedding(3, 5)
        self.inner = nn.Linear(5, 17)
        self.norm = nn.LayerNorm(17)


def test_a_tied_head_counts_once_and_other_lookups_gains_and_biases_never():
    model = Model()
    assert multiplied_parameters(model, model.token.weight) == 5 * 17 + 13 * 5


def test_an_untied_head_counts_and_its_embedding_does_not():
    model = Model()
    model.head = nn.Linear(5, 13, bias=False)
    assert multiplied_parameters(model, model.head.weight) == 5 * 17 + 5 * 13
