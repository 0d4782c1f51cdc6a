"""Tokens a second of generation: this project in each precision beside transformers and llama.cpp.

make bench ARGS="generate"                          gpt_30m, 200 tokens, 1, 4, 16 and 64 at once
make bench ARGS="generate --with-llama-cpp"         where llama-cpp-python and gguf are installed
make bench ARGS="generate --batches 1 --only int8"

Each variant is a process of its own; they take turns. The time is that of decoding, after the
prompt of 8 tokens is read. Weights are random, which no speed depends on.
"""

import argparse
import itertools
import statistics
import sys
import time

import torch
from generate_variants import BITS, VARIANTS, weights
from small_run import table
from train_variants import gpt_config
from turns import VariantEnded, ask, obey, say, taking_turns

from gpt_pipeline.runtime.device import choose_device

_READ_BYTES = 1 << 29
_READ_ROUNDS = 5


def main() -> None:
    """Print the table, or be one of the processes behind it."""
    args = _arguments()
    if args.variant:
        make, kind = VARIANTS[args.variant]
        run = make(args, kind)
        run(1)
        say(ready=True)
        obey(lambda word: {"seconds": run(int(word))})
        return
    names = [name for name in VARIANTS if not args.only or any(o in name for o in args.only)]
    if not args.with_llama_cpp:
        names = [name for name in names if not name.startswith("llama")]
    seconds: dict[tuple[str, int], list[float]] = {}
    with taking_turns(__file__, names, lenient=True) as (children, _):
        bandwidth = [_bandwidth(args)]
        for _round, batch in itertools.product(range(args.rounds), args.batches):
            for name, child in list(children.items()):
                if batch > 1 and name.startswith("llama"):
                    continue
                try:
                    found = ask(child, str(batch))["seconds"]
                except VariantEnded as ended:  # the others' figures are not lost with it
                    print(ended, file=sys.stderr)
                    del children[name]
                else:
                    seconds.setdefault((name, batch), []).append(found)
            bandwidth.append(_bandwidth(args))
    _print(args, names, seconds, statistics.median(bandwidth))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="tokens a second of generation")
    parser.add_argument("--model", default="gpt_30m")
    parser.add_argument("--vocab", type=int, default=50257)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--only", nargs="+", help="parts of the names of variants")
    parser.add_argument(
        "--no-compile",
        dest="compile",
        action="store_false",
        help="the modules in the place of the forward pass in C, or of CUDA graphs",
    )
    parser.add_argument("--with-llama-cpp", action="store_true")
    parser.add_argument("--variant", choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.device, args.no_dropout = choose_device(args.device).type, True
    args.dtype = "float32"
    return args


def _bandwidth(args: argparse.Namespace) -> float:
    """Bytes a second that reading a large matrix for a product takes: the best of some."""
    matrix = torch.ones(_READ_BYTES // 4 // 4096, 4096, device=args.device)
    vector, best = torch.ones(4096, device=args.device), float("inf")
    for _ in range(_READ_ROUNDS):
        begin = time.perf_counter()
        matrix @ vector
        if args.device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - begin)
    return _READ_BYTES / best


def _print(
    args: argparse.Namespace,
    names: list[str],
    seconds: dict[tuple[str, int], list[float]],
    bandwidth: float,
) -> None:
    parameters = weights(gpt_config(args)).num_parameters()
    peer = seconds.get(("transformers, float32", 1))
    rows = []
    for name in names:
        rates = {
            batch: batch * (args.tokens - 1) / statistics.median(seconds[name, batch])
            for batch in args.batches
            if (name, batch) in seconds
        }
        first = rates.get(1, 0.0)
        read = first * parameters * BITS[VARIANTS[name][1]] / 8 / bandwidth
        times = first * statistics.median(peer) / (args.tokens - 1) if peer else 0.0
        rows.append([
            name, *(f"{rates[b]:,.0f}" if b in rates else "-" for b in args.batches),
            f"{times:.2f}" if times else "-", f"{100 * read:.0f} %" if read else "-",
        ])  # fmt: skip
    table(
        f"{args.model}, {parameters / 1e6:.1f} M parameters, {args.tokens} new tokens, top-k 50, "
        f"top-p 0.95, {args.device}, {torch.get_num_threads()} threads; median of {args.rounds} "
        f"rounds; tokens a second by samples side by side; measured memory bandwidth "
        f"{bandwidth / 1e9:.1f} GB/s",
        ["", *(f"{batch} at once" for batch in args.batches), "times transformers (1)",
         "of the bandwidth (1)"],
        rows,
    )  # fmt: skip


if __name__ == "__main__":
    main()
