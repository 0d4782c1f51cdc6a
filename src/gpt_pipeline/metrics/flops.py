"""FLOPs of training, in one definition: for `mfu` and for the choice to compile."""

from torch import Tensor, nn

from gpt_pipeline.model import GPTModel


def training_flops_per_token(model: GPTModel) -> int:
    """FLOPs per token of training a model on windows of its max_length (`flops_per_token`)."""
    config = model.config
    return flops_per_token(
        multiplied_parameters(model, model.lm_head_weight),
        num_layers=config.num_layers,
        embed_dim=config.embed_dim,
        max_length=config.max_length,
    )


def multiplied_parameters(model: nn.Module, head: Tensor) -> int:
    """The number of parameters in matrix products: the matrices of the blocks and the head.

    An embedding lookup is no product, so an embedding counts only if it is also `head`, the weight
    of the lm_head, and then once. Gains and biases are not counted.
    """
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    tables.discard(id(head))
    return sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in tables)


def flops_per_token(
    num_multiplied: int, *, num_layers: int, embed_dim: int, max_length: int
) -> int:  # fmt: skip
    """FLOPs per token of training, forward and backward, in windows of max_length.

    Matrix products are counted, with a multiplication and an addition as two FLOPs:

    - 6 per parameter: 2 forward, 2 for the gradient of the input, 2 for the gradient of the
      parameter (Kaplan et al. 2020, arXiv 2001.08361, section 2.1);
    - 6 num_layers embed_dim max_length for attention: queries times keys and weights times values,
      forward and twice that backward, over half a window, which a token attends to on average.

    Not counted: norms, activations, softmax, dropout, the loss, the optimizer and recomputation.

    Args:
        num_multiplied: from `multiplied_parameters`.
        num_layers: number of blocks.
        embed_dim: width of all query heads together.
        max_length: tokens per window.
    """
    return 6 * num_multiplied + 6 * num_layers * embed_dim * max_length
