"""What bench/train.py compares: one training step after another, by this project or by a peer."""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt_pipeline.config import Config, GPTConfig
from gpt_pipeline.config.compose import compose
from gpt_pipeline.runtime.device import keep_freed_memory
from gpt_pipeline.runtime.memory import peak_memory_bytes
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.training import new_model
from gpt_pipeline.training.step import OptimizerStep

PROJECT = "gpt-pipeline"
VARIANTS = {
    "project": PROJECT,
    "project_compiled": f"{PROJECT}, compiled",
    "transformers": "transformers, plain loop",
    "transformers_compiled": "transformers, compiled",
    "trainer": "transformers' Trainer",
}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_RATE, _CLIP = 1e-4, 1.0


@dataclass
class Variant:
    """One way of training; `run` goes some steps and gives the seconds they took."""

    parameters: int
    run: Callable[[int], float]
    device: torch.device

    def peak_memory(self) -> int:
        """Bytes that this process held at most."""
        return peak_memory_bytes(self.device)


def make(name: str, args: argparse.Namespace) -> Variant:
    """The variant of that name, with random windows to train on."""
    torch.manual_seed(0)
    if name.startswith("project"):
        return _project(args, compiled=name.endswith("compiled"))
    if name == "trainer":
        return _trainer(args)
    return _transformers(args, compiled=name.endswith("compiled"))


def gpt_config(args: argparse.Namespace) -> GPTConfig:
    """The sizes that all variants share."""
    return _config(args).gpt_config()


def _config(args: argparse.Namespace) -> Config:
    words = [f"model={args.model}", "tokenizer=gpt2", f"model.vocab_size={args.vocab}"]
    words += [f"block.eot_id={args.vocab - 1}"]
    if args.no_dropout:
        words += [f"model.{part}_dropout_rate=0" for part in ("emb", "mha", "ffn")]
    return compose([*words, f"runtime.dtype={args.dtype}"]).config


def _windows(args: argparse.Namespace) -> np.ndarray[Any, Any]:
    shape = (args.batch, gpt_config(args).max_length)
    return np.random.default_rng(0).integers(0, args.vocab, shape)


def _timed(step: Callable[[], Any], device: torch.device) -> Callable[[int], float]:
    def run(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    return run


def _project(args: argparse.Namespace, *, compiled: bool) -> Variant:
    device = torch.device(args.device)
    keep_freed_memory()
    config = _config(args)
    model = new_model(config, device).train()
    step = OptimizerStep(model, config, Precision(device, DTYPES[args.dtype]))
    if compiled:
        step.compile()
    batch = (_windows(args), _windows(args))

    def once() -> None:
        step(batch, micro_batch_size=args.batch, lr=_RATE)

    return Variant(model.num_parameters(), _timed(once, device), device)


def _peer(args: argparse.Namespace) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = gpt_config(args)
    config: Any = GPT2Config(
        vocab_size=shape.vocab_size, n_positions=shape.max_length, n_embd=shape.embed_dim,
        n_layer=shape.num_layers, n_head=shape.num_heads, n_inner=shape.ff_hidden_dim,
        resid_pdrop=shape.ffn_dropout_rate, embd_pdrop=shape.emb_dropout_rate,
        attn_pdrop=shape.mha_dropout_rate, use_cache=False, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    model: Any = GPT2LMHeadModel(config)  # its attention is SDPA by default
    return model.to(args.device).train()


def _transformers(args: argparse.Namespace, *, compiled: bool) -> Variant:
    """The plain loop: autocast, the model's own loss, clipping, fused AdamW."""
    device, model = torch.device(args.device), _peer(args)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, fused=True)
    forward = torch.compile(model) if compiled else model
    ids = torch.from_numpy(_windows(args)).to(device)
    autocast = args.dtype != "float32"

    def once() -> None:
        with torch.autocast(device.type, DTYPES[args.dtype], enabled=autocast):
            loss: Tensor = forward(input_ids=ids, labels=ids).loss
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    number = sum(p.numel() for p in model.parameters())
    return Variant(number, _timed(once, device), device)


def _trainer(args: argparse.Namespace) -> Variant:
    """The peer in transformers' Trainer; its first step of each round is not counted."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    device, model = torch.device(args.device), _peer(args)
    rows = [{"input_ids": ids, "labels": ids} for ids in torch.from_numpy(_windows(args))]
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())

    def run(steps: int) -> float:
        ends.clear()
        with tempfile.TemporaryDirectory() as folder:
            options = TrainingArguments(
                output_dir=folder, max_steps=steps + 1, per_device_train_batch_size=args.batch,
                bf16=args.dtype == "bfloat16", use_cpu=device.type == "cpu", max_grad_norm=_CLIP,
                learning_rate=_RATE, save_strategy="no", report_to=[], disable_tqdm=True,
                optim="adamw_torch_fused", dataloader_pin_memory=device.type == "cuda",
            )  # fmt: skip
            Trainer(model, options, train_dataset=rows, callbacks=[Clock()]).train()
        return ends[-1] - ends[0]

    return Variant(sum(p.numel() for p in model.parameters()), run, device)
