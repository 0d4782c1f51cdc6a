"""Tokens a second of a training step: this project beside transformers, same shapes, same dtype.

make bench ARGS="train"                        gpt_30m, 8 windows a step
make bench ARGS="train --model laptop --batch 4 --no-dropout --rounds 5"

Each variant is a process of its own; they take turns, so that what else the machine does falls on
all of them. The peer is a GPT-2 of the same sizes, whatever the model's own gpt_config.
"""

import argparse
import statistics
import time
from importlib.util import find_spec
from typing import Any

import torch
from small_run import table
from train_variants import DTYPES, VARIANTS, gpt_config, make
from turns import ask, obey, say, taking_turns

from gpt_pipeline.runtime.device import choose_device

_MATRIX = {"cpu": 2048, "cuda": 8192}
_MATRIX_ROUNDS = 5


def main() -> None:
    """Print the table, or be one of the processes behind it."""
    args = _arguments()
    if args.variant:
        _serve(args)
        return
    names = [name for name in VARIANTS if args.only is None or name in args.only.split(",")]
    if "trainer" in names and find_spec("accelerate") is None:
        print("left out: transformers' Trainer needs accelerate, which is not installed")
        names.remove("trainer")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    with taking_turns(__file__, names) as (children, made):
        rates = [_peak_flops(args)]
        for _ in range(args.rounds):
            for name, child in children.items():
                made[name] |= ask(child, "go")
                seconds[name].append(made[name]["seconds"])
            rates.append(_peak_flops(args))
    _print(args, made, seconds, statistics.median(rates))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="tokens a second beside transformers")
    parser.add_argument("--model", default="gpt_30m")
    parser.add_argument("--vocab", type=int, default=50257)
    parser.add_argument("--batch", type=int, default=8, help="windows a step")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2, help="steps of each round")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--dtype", default="bfloat16", choices=list(DTYPES))
    parser.add_argument("--only", help=f"variants, by comma: {', '.join(VARIANTS)}")
    parser.add_argument("--variant", choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device = choose_device(args.device).type
    return args


def _serve(args: argparse.Namespace) -> None:
    """Be one variant: a warm step, then a round for each word."""
    begin = time.perf_counter()
    variant = make(args.variant, args)
    variant.run(1)
    say(start_s=time.perf_counter() - begin, parameters=variant.parameters)
    obey(lambda _: {"seconds": variant.run(args.steps), "memory": variant.peak_memory()})


def _peak_flops(args: argparse.Namespace) -> float:
    """FLOPs a second of one square product in the dtype of the run: the best of some."""
    size = _MATRIX[args.device]
    a, b = (torch.randn(size, size, device=args.device).to(DTYPES[args.dtype]) for _ in range(2))
    best = float("inf")
    for _ in range(_MATRIX_ROUNDS):
        begin = time.perf_counter()
        a @ b
        if args.device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return 2 * size**3 / best


def _print(
    args: argparse.Namespace,
    made: dict[str, dict[str, Any]],
    seconds: dict[str, list[float]],
    rate: float,
) -> None:
    shape = gpt_config(args)
    tokens = args.batch * shape.max_length * args.steps
    rows = []
    for name, spans in seconds.items():
        # forward and backward: 6 a parameter and token, and causal attention's two products
        flops = 6 * made[name]["parameters"] + 6 * (
            shape.num_layers * shape.num_heads * shape.head_dim * shape.max_length
        )
        per_s = tokens / statistics.median(spans)
        ratios = [
            f"{statistics.median(seconds[peer]) / statistics.median(spans):.2f}"
            if peer in seconds else "-" for peer in ("transformers", "transformers_compiled")
        ]  # fmt: skip
        rows.append(
            [
                VARIANTS[name], f"{per_s:,.0f}", *ratios, f"{100 * per_s * flops / rate:.0f} %",
                f"{made[name]['memory'] / 1e9:.2f} GB", f"{made[name]['start_s']:.0f} s",
            ]
        )  # fmt: skip
    dropout = "without dropout" if args.no_dropout else "dropout as the model has it"
    table(
        f"{args.model}, {args.batch} windows of {shape.max_length} per step, vocabulary "
        f"{shape.vocab_size:,}, {args.dtype}, {args.device}, {dropout}; median of {args.rounds} "
        f"rounds of {args.steps} steps; measured peak {rate / 1e9:,.0f} GFLOP/s",
        ["", "tokens/s", "times transformers", "times it compiled", "of the measured peak",
         "peak memory", "start and first step"],
        rows,
    )  # fmt: skip
    print("\nFLOPs per token: 6 per parameter, the tied matrix counted once, and 12 x layers x "
          "width x context / 2 for attention.")  # fmt: skip


if __name__ == "__main__":
    main()
