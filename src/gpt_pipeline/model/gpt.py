"""The model: a GPT-2 or a Qwen3, equal to transformers' classes of these names.

Token ids go through the embedding, the transformer blocks and a final norm to the head, whose
weight is that of the token embedding. Its logits predict each next token.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpt_pipeline.config import GPTConfig
from gpt_pipeline.model.blocks.documents import DocumentMask, NoDocumentMask
from gpt_pipeline.model.blocks.dropout import Dropout, dropout_keys
from gpt_pipeline.model.blocks.embedding import Embedding, PositionEmbedding, Positions
from gpt_pipeline.model.blocks.mha import AttentionCache
from gpt_pipeline.model.blocks.rotary import NoRotaryEmbedding, RotaryEmbedding
from gpt_pipeline.model.blocks.transformer import NORMS, TransformerBlock
from gpt_pipeline.model.linear_cross_entropy import LogitsMemory, linear_cross_entropy

INIT_STD = 0.02
RESIDUAL_PROJECTIONS = ("attention.out.weight", "feed_forward.down.weight")


class GPTModel(nn.Module):
    """A decoder-only transformer language model with tied embedding and head.

    Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section
    2.3; with rotary positions, RMSNorm, SwiGLU and normalised queries and keys: Qwen Team 2025,
    "Qwen3 Technical Report", section 2. The state dict holds the tied matrix once, as
    `embedding.token.weight`.
    """

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        rotary = config.position == "rotary"
        self.embedding = (Embedding if rotary else PositionEmbedding)(config)
        self.rope = (
            RotaryEmbedding(config.head_dim, config.rope_theta, config.max_length)
            if rotary
            else NoRotaryEmbedding()
        )
        end = config.eot_id if config.attention == "document" else None
        self.document_mask = NoDocumentMask() if end is None else DocumentMask(end)
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.num_layers))
        self.final_norm = NORMS[config.norm](config.embed_dim, config.layer_norm_eps)
        dropouts = [module for module in self.modules() if isinstance(module, Dropout)]
        for site, dropout in enumerate(dropouts):
            dropout.site = site
        self._num_dropouts = len(dropouts)
        self._memory = LogitsMemory()
        self._chunk_hooks: OrderedDict[int, Callable[[], None]] = OrderedDict()
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights from torch's global generator.

        GPT-2's way (section 2.3 of its paper, and its published code): matrices normal with
        INIT_STD; those that end on the residual stream smaller, so that its variance does not
        grow with the number of layers; biases 0, norms 1.
        """
        residual_std = INIT_STD / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith(RESIDUAL_PROJECTIONS):
                parameter.normal_(std=residual_std)
            elif name.endswith("norm.weight"):
                parameter.fill_(1.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(std=INIT_STD)

    def forward(
        self,
        tokens: Tensor,
        targets: Tensor | None = None,
        dropout_seeds: Tensor | None = None,
    ) -> Tensor:
        """Logits, or with targets the loss.

        The loss is a sum, so that the gradient of a mean over several micro-batches needs one
        division: `(model(tokens, targets) / number_of_targets).backward()`. It is computed in
        chunks (`linear_cross_entropy`): the logits are never in memory at once.

        Args:
            tokens: int64 [B, T].
            targets: int64 [B, T], the token after each of `tokens`; below 0: not counted.
            dropout_seeds: int64 [B], one per sequence. The dropout of a sequence is then a function
                of its seed, whatever batch it is in, and the same when it is computed again.
                None: torch's global generator draws.

        Returns:
            Logits [B, T, V] of the token after each of `tokens`; with targets the sum of the
            losses of those that count, a float32 scalar, in nats.

        Raises:
            ValueError: there is no token, or there are more than max_length.
        """
        hidden_states = self.hidden_states(tokens, dropout_seeds=dropout_seeds)
        if targets is None:
            return self.head(hidden_states)
        check = self._run_chunk_hooks if self._chunk_hooks else None
        return linear_cross_entropy(
            hidden_states.flatten(0, 1), self.lm_head_weight, targets.flatten(), check, self._memory
        )

    def hidden_states(
        self,
        tokens: Tensor,
        positions: Positions | None = None,
        caches: Sequence[AttentionCache] | None = None,
        *,
        dropout_seeds: Tensor | None = None,
    ) -> Tensor:
        """The final hidden states [B, T, C], which the head maps to logits.

        Args:
            tokens: int64 [B, T].
            positions: where the tokens are in their texts; None: at 0 to T - 1.
            caches: keys and values of earlier positions, one per layer, to which those of `tokens`
                are appended. Each row is then a single document, as in generation.
            dropout_seeds: as of `forward`.

        Raises:
            ValueError: if there is no token, or if there are more than max_length.
        """
        num_tokens, max_length = tokens.shape[1], self.config.max_length
        if num_tokens == 0:
            raise ValueError("tokens must hold at least one position; got none")
        if num_tokens > max_length:
            raise ValueError(f"tokens must fit into max_length; got {num_tokens}, and {max_length}")
        at = slice(0, num_tokens) if positions is None else positions
        layers = [None] * len(self.blocks) if caches is None else caches
        rotation = self.rope(at, tokens.device)
        mask = self.document_mask(tokens) if caches is None else None
        keys = None if dropout_seeds is None else dropout_keys(dropout_seeds, self._num_dropouts)
        x = self.embedding(tokens, at, keys)  # B T -> B T C
        for block, cache in zip(self.blocks, layers, strict=True):
            x = block(x, rotation, cache, mask, keys)
        normed: Tensor = self.final_norm(x)
        return normed

    def register_chunk_hook(self, hook: Callable[[], None]) -> RemovableHandle:
        """Call `hook()` between the chunks of head and loss, which take seconds on a CPU.

        What it raises ends the forward pass. Compiled forward passes do not call it.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        handle = RemovableHandle(self._chunk_hooks)
        self._chunk_hooks[handle.id] = hook
        return handle

    def _run_chunk_hooks(self) -> None:
        for hook in self._chunk_hooks.values():
            hook()

    def head(self, hidden_states: Tensor) -> Tensor:
        """Logits [..., V] of hidden states [..., C]: a product with `lm_head_weight`."""
        logits: Tensor = self.embedding.token.project(hidden_states)
        return logits

    @property
    def lm_head_weight(self) -> nn.Parameter:
        """The weight of the head, [V, C], tied to that of the token embedding."""
        weight: nn.Parameter = self.embedding.token.weight  # type: ignore[assignment]
        return weight

    def num_parameters(self) -> int:
        """Number of parameters, those of the tied weight counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.embedding.token.weight.device
