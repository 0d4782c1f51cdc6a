"""Checks a run folder: its metrics, its config and its plots."""

import os
import re
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import yaml

from gpt_pipeline.config.compose import HYDRA
from gpt_pipeline.durable import read_limited
from gpt_pipeline.errors import UserError
from gpt_pipeline.tracking.metrics_file import METRICS
from gpt_pipeline.verification.metrics_check import check_metrics

_NAME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?")
_PNG = b"\x89PNG\r\n\x1a\n"
_LARGEST_CHUNK = 1 << 26


def is_run_folder(path: Path) -> bool:
    """Whether a folder is the run folder of a training run, by its content or its name."""
    if (path / METRICS).is_file():
        return True
    return bool(_NAME.fullmatch(path.name)) and path.parent.name == "train"


def check_run(folder: Path) -> str:
    """Check a run folder and return a description of it.

    Raises:
        UserError: names the first file that is missing or damaged.
        OSError: a file cannot be read.
    """
    config = folder / HYDRA / "config.yaml"
    if not config.is_file():
        raise UserError(f"{folder} is incomplete: {HYDRA}/config.yaml is missing")
    for path in sorted(config.parent.glob("*.yaml")):
        _check_yaml(path)
    plots = sorted(folder.glob("*.png"))
    metrics, lines = folder / METRICS, 0
    if metrics.is_file():
        lines = check_metrics(metrics)
        if plots and lines == 0:
            raise UserError(f"{metrics} is empty, but {plots[0].name} was drawn from its lines")
    elif plots:
        raise UserError(f"{folder} is incomplete: {METRICS} is missing")
    for path in plots:
        _check_png(path)
    return f"run, {lines:,} lines of metrics"


def _check_yaml(path: Path) -> None:
    try:
        values = yaml.safe_load(read_limited(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # PyYAML shows the position in several lines
        raise UserError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from None
    wanted = list if path.name == "overrides.yaml" else dict
    if not isinstance(values, wanted):
        kind = "a list" if wanted is list else "keys"
        raise UserError(f"{path} is damaged: it must hold {kind}; got {type(values).__name__}")


def _check_png(path: Path) -> None:
    """Check the signature, the CRC of every chunk and the end; needs no image library."""
    with path.open("rb") as file:
        if file.read(len(_PNG)) != _PNG:
            raise UserError(f"{path} is damaged: it has no PNG signature")
        while (kind := _png_chunk(file, path)) != b"IEND":
            if kind is None:
                raise UserError(f"{path} is damaged: it is truncated")
        if file.read(1):
            raise UserError(f"{path} is damaged: there are bytes after its end")


def _png_chunk(file: BinaryIO, path: Path) -> bytes | None:
    """The kind of the next chunk; None if the file is truncated."""
    head = file.read(8)
    if len(head) < 8:
        return None
    size, kind = struct.unpack(">I4s", head)
    if size > min(_LARGEST_CHUNK, os.fstat(file.fileno()).st_size):
        return None
    content, crc = file.read(size), file.read(4)
    if len(content) < size or len(crc) < 4:
        return None
    if zlib.crc32(kind + content) != int.from_bytes(crc, "big"):
        raise UserError(f"{path} is damaged: its checksum differs")
    return bytes(kind)
