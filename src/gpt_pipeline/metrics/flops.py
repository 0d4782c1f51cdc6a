"""How much a training step computes, in one definition: what is held against the matrix rate."""

from torch import Tensor, nn


def multiplied_parameters(model: nn.Module, head: Tensor) -> int:
    """Parameters that each token is multiplied with: the matrices of the model and its head.

    Looking a vector up is no product: an embedding counts only where it is `head`, the matrix
    that gives the logits, and then once. Gains and biases are not counted.
    """
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    tables.discard(id(head))
    return sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in tables)


def flops_per_token(
    num_multiplied: int, *, num_layers: int, embed_dim: int, max_length: int
) -> int:  # fmt: skip
    """FLOPs of training on one token, forward and backward, in windows of max_length.

    Counted are matrix products, a multiplication and an addition as two:

    - 6 a parameter: 2 forward, 2 for the gradient of what came in, 2 for that of the parameter
      (Kaplan et al. 2020, arXiv 2001.08361, section 2.1);
    - 6 num_layers embed_dim max_length for attention: queries times keys and weights times
      values, forward and twice backward, over the half of a window that a token sees on average.

    Not counted: norms, activations, softmax, dropout, the loss, the optimizer, and whatever is
    computed twice to save memory. embed_dim is the width of all query heads together.
    """
    return 6 * num_multiplied + 6 * num_layers * embed_dim * max_length
