"""A run small enough to repeat many times."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt_pipeline.checkpoint import CheckpointStore
from gpt_pipeline.config.compose import compose
from gpt_pipeline.model import GPTModel
from gpt_pipeline.runtime.precision import Precision
from gpt_pipeline.tokenizer import byte_tokenizer
from gpt_pipeline.tracking.metrics_file import MetricsFile
from gpt_pipeline.training import Hooks, Trainer

SMALL = """
model=tiny tokenizer=bytes model.vocab_size=257 model.embed_dim=16 model.ff_hidden_dim=24
model.num_heads=2 model.num_layers=1 model.max_length=8 model.micro_batch_size=2
model.grad_accumulation=2 model.warmup_steps=2 model.eval_freq=4 model.eval_iter=1
schedule.max_steps=12 logging.log_every=1 checkpoint.save_every=3 model.checkpoint_name=small
runtime.dtype=float32 model.emb_dropout_rate=0.1 model.mha_dropout_rate=0.1
model.ffn_dropout_rate=0.1
""".split()


class FakeWindows:
    """Training and validation windows that follow from their position alone."""

    bytes_per_token = 2.0
    num_windows = 20

    def __init__(self):
        self.asked = []

    def batch(self, position, count):
        self.asked += range(position, position + count)
        rows = np.arange(position, position + count, dtype=np.int64)[:, None] % self.num_windows
        tokens = (rows * 31 + np.arange(9) * (rows + 3)) % 257
        return tokens[:, :-1].copy(), tokens[:, 1:].copy()

    def num_targets(self, position, count):
        return 8 * count

    def batches(self, batch_size, limit=None):
        for first in range(
            0, self.num_windows if limit is None else limit * batch_size, batch_size
        ):
            yield self.batch(first, batch_size)


@functools.cache
def composed(words):
    return compose([*SMALL, *words]).config


class SmallRun:
    """One session of a run: everything that a process would build."""

    def __init__(self, root: Path, *words: str, val: bool = True) -> None:
        config = composed(words).replace({"model.checkpoint_path": f"{root}/checkpoints"})
        self.root, self.config = root, config
        self.store = CheckpointStore(
            root=root / "checkpoints",
            name="small",
            config=config,
            tokenizer=byte_tokenizer(),
            data_fingerprint="abc",
        )
        torch.manual_seed(config.runtime.seed)
        self.model = GPTModel(config.gpt_config())
        precision = Precision.choose(config.runtime, torch.device("cpu"))
        self.train = FakeWindows()
        self.trainer = Trainer(
            self.model,
            self.train,
            FakeWindows() if val else None,
            store=self.store,
            precision=precision,
        )
        self.evaluated = []

    def go(self, *, stop_after=None):
        checkpoint = self.store.newest_good()
        if checkpoint is not None:
            self.trainer.resume(checkpoint)
        state = self.trainer.state
        hooks = Hooks(
            stepped=lambda report: None,
            evaluated=lambda step, model: self.evaluated.append(step),
            stop=lambda: stop_after is not None and state.step >= stop_after,
        )
        with MetricsFile(self.root / "metrics.jsonl", step=state.step) as metrics:
            return self.trainer.run(metrics, hooks)


@pytest.fixture
def small_run(tmp_path):
    def build(*words, name="run", val=True):
        return SmallRun(tmp_path / name, *words, val=val)

    return build
