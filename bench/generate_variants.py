"""Who generates: this project in each precision, transformers, llama.cpp; the same weights."""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from train_variants import gpt_config

from gpt_pipeline.config import GPTConfig, Sampling
from gpt_pipeline.inference import Engine, Request, prepare
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.device import keep_freed_memory

Run = Callable[[int], float]
"""Seconds that so many samples side by side take, after their prompt is read."""

SAMPLING = Sampling(temperature=1.0, top_k=50, top_p=0.95, max_new_tokens=1)
PROMPT = tuple(range(100, 108))
BITS = {"float32": 32, "bfloat16": 16, "int8": 8, "f16": 16, "q8_0": 8}


def weights(shape: GPTConfig) -> GPTModel:
    """Random weights, the same in every process."""
    torch.manual_seed(0)
    return GPTModel(replace(shape, attention="causal", eot_id=None)).eval()


def project(args: argparse.Namespace, kind: str) -> Run:
    """The project's engine."""
    keep_freed_memory()
    model = weights(gpt_config(args)).to(args.device)
    backend = prepare(model, weights=kind, compiled=args.compile)  # type: ignore[arg-type]
    sampling = replace(SAMPLING, max_new_tokens=args.tokens)

    def run(batch: int) -> float:
        engine = Engine(backend, 0, batch)
        for idx in range(batch):
            engine.add(Request(PROMPT, sampling, 0, idx))
        engine.step()
        begin, drawn = time.perf_counter(), 0
        while engine.active:
            drawn += len(engine.step())
        # where end-of-text came, fewer tokens were made than were asked for
        return (time.perf_counter() - begin) * float(batch * (args.tokens - 1) / drawn)

    return run


def transformers(args: argparse.Namespace, kind: str) -> Run:
    """transformers' generate with its cache."""
    from transformers import GPT2Config, GPT2LMHeadModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    shape = gpt_config(args)
    config: Any = GPT2Config(
        vocab_size=shape.vocab_size, n_positions=shape.max_length, n_embd=shape.embed_dim,
        n_layer=shape.num_layers, n_head=shape.num_heads, n_inner=shape.ff_hidden_dim,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    model: Any = GPT2LMHeadModel(config).to(args.device, getattr(torch, kind)).eval()

    def generate(batch: int, length: int) -> float:
        ids = torch.tensor([PROMPT] * batch, device=args.device)
        begin = time.perf_counter()
        model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, min_new_tokens=length,
            do_sample=True, top_k=50, top_p=0.95, pad_token_id=0,
        )  # fmt: skip
        return time.perf_counter() - begin

    return lambda batch: generate(batch, args.tokens) - generate(batch, 1)


def llama(args: argparse.Namespace, kind: str) -> Run:
    """llama.cpp through llama-cpp-python, one sample at a time."""
    from generate_gguf import write_gguf
    from llama_cpp import Llama  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.gguf"
        write_gguf(path, weights(gpt_config(args)), kind)
        model = Llama(
            str(path), n_ctx=gpt_config(args).max_length, n_threads=torch.get_num_threads(),
            verbose=False, logits_all=False,
        )  # fmt: skip

    def run(batch: int) -> float:
        spent = 0.0
        for seed in range(batch):  # the binding makes one after the other
            model.reset()
            stream = model.generate(
                list(PROMPT), top_k=50, top_p=0.95, min_p=0.0, temp=1.0, repeat_penalty=1.0
            )
            model.set_seed(seed)
            next(stream)
            begin = time.perf_counter()
            for _ in range(args.tokens - 1):
                next(stream)
            spent += time.perf_counter() - begin
        return spent

    return run


VARIANTS: dict[str, tuple[Callable[[argparse.Namespace, str], Run], str]] = {
    "gpt-pipeline, float32": (project, "float32"),
    "gpt-pipeline, bfloat16": (project, "bfloat16"),
    "gpt-pipeline, int8": (project, "int8"),
    "transformers, float32": (transformers, "float32"),
    "transformers, bfloat16": (transformers, "bfloat16"),
    "llama.cpp, float32": (llama, "float32"),
    "llama.cpp, f16": (llama, "f16"),
    "llama.cpp, q8_0": (llama, "q8_0"),
}
