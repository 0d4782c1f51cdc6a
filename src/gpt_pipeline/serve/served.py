"""The model that is served, and its description."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gpt_pipeline.config import Sampling
from gpt_pipeline.inference import Backend, document_ids
from gpt_pipeline.model import meta_model
from gpt_pipeline.serve.schemas import ModelCard
from gpt_pipeline.tokenizer import Tokenizer


@dataclass(frozen=True)
class Served:
    """One model under its name.

    Attributes:
        name: its id in requests.
        backend: computes its logits.
        tokenizer: its own.
        prompt: an example of a prompt.
        sampling: the settings that the page begins with; requests have OpenAI's defaults.
        created: when it was saved, in seconds since 1970.
        trained_with_eot: whether end-of-text preceded documents in training.
    """

    name: str
    backend: Backend
    tokenizer: Tokenizer
    prompt: str
    sampling: Sampling
    created: int
    trained_with_eot: bool = True

    def read_ids(self, ids: Sequence[int], *, add_bos_token: bool | None) -> tuple[int, ...]:
        """What the model reads of a text's ids.

        `add_bos_token` is whether end-of-text precedes them; None: as configured.
        """
        wanted = self.sampling.add_bos_token if add_bos_token is None else add_bos_token
        return document_ids(
            ids,
            add_bos_token=wanted and self.trained_with_eot,
            eot_id=self.tokenizer.eot_id,
            max_length=self.context_length,
        )

    @property
    def context_length(self) -> int:
        """The longest context, in tokens, and so the longest prompt."""
        return self.backend.config.max_length

    @property
    def vocab_size(self) -> int:
        """Token ids are below this."""
        return self.backend.config.vocab_size

    @cached_property
    def longest_prompt_bytes(self) -> int:
        """Every text of more bytes than this has more tokens than the context."""
        return self.context_length * max(self.tokenizer.token_lengths)

    def card(self) -> ModelCard:
        """The model's entry in /v1/models."""
        sampling = self.sampling
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "gpt-pipeline",
            "context_length": self.context_length,
            "vocab_size": self.vocab_size,
            "eot_id": self.tokenizer.eot_id,
            "add_bos_token": sampling.add_bos_token and self.trained_with_eot,
            # counted from the config: packed matrices are no parameters
            "parameters": meta_model(self.backend.config).num_parameters(),
            "defaults": {
                "prompt": self.prompt,
                "temperature": sampling.temperature,
                "top_k": sampling.top_k,
                "top_p": sampling.top_p,
                "min_p": sampling.min_p,
                "repetition_penalty": sampling.repetition_penalty,
                "presence_penalty": sampling.presence_penalty,
                "frequency_penalty": sampling.frequency_penalty,
                "max_tokens": sampling.max_new_tokens,
            },
        }
