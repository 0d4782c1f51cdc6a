"""A GPT-2 as a GGUF file, for llama.cpp as a peer of bench/generate.py; its words are made up."""

from pathlib import Path
from typing import Any

import gguf  # type: ignore[import-not-found]

from gpt_pipeline.model import GPTModel

_TYPES = {
    "float32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
_NAMES = {
    "embedding.token.weight": "token_embd.weight",
    "embedding.position.weight": "position_embd.weight",
    "final_norm": "output_norm",
}
_IN_BLOCKS = {
    "attention_norm": "attn_norm",
    "attention.qkv": "attn_qkv",
    "attention.out": "attn_output",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.up": "ffn_up",
    "feed_forward.down": "ffn_down",
}


def write_gguf(path: Path, model: GPTModel, kind: str) -> None:
    """Write the model with its matrices in a type of `_TYPES`, all else in float32."""
    shape = model.config
    writer = gguf.GGUFWriter(str(path), "gpt2")
    writer.add_context_length(shape.max_length)
    writer.add_embedding_length(shape.embed_dim)
    writer.add_feed_forward_length(shape.ff_hidden_dim)
    writer.add_block_count(shape.num_layers)
    writer.add_head_count(shape.num_heads)
    writer.add_layer_norm_eps(shape.layer_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([f"w{idx}" for idx in range(shape.vocab_size)])
    writer.add_token_merges(["w 1"])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    state = model.state_dict()
    state.setdefault("output.weight", state["embedding.token.weight"])
    for name, tensor in state.items():
        values: Any = tensor.float().numpy()
        wanted = _TYPES[kind] if values.ndim == 2 and "position" not in name else _TYPES["float32"]
        data = gguf.quants.quantize(values, wanted)
        writer.add_tensor(_renamed(name), data, raw_dtype=wanted)
    for layer in range(shape.num_layers):  # llama.cpp wants biases where a GPT-2 may have them
        for name, width in (("attn_qkv", 3 * shape.embed_dim),):
            if f"blocks.{layer}.attention.qkv.bias" not in state:
                zeros = tensor.new_zeros(width).numpy()
                writer.add_tensor(f"blk.{layer}.{name}.bias", zeros)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _renamed(name: str) -> str:
    for ours, theirs in _NAMES.items():
        name = name.replace(ours, theirs)
    if name.startswith("blocks."):
        _, layer, rest = name.split(".", 2)
        for ours, theirs in _IN_BLOCKS.items():
            if rest.startswith(ours + "."):
                return f"blk.{layer}.{theirs}{rest[len(ours) :]}"
    return name
