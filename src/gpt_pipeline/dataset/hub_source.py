"""dataset=tinystories: a data set on the Hugging Face hub, streamed with its own split."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt_pipeline.dataset.corpus import Work, batched, cleaned
from gpt_pipeline.errors import DataError
from gpt_pipeline.tokenizer import without_retries


@dataclass(frozen=True)
class HubCorpus:
    """One split of a hub data set, or of a local folder that `datasets` can load."""

    hub_id: str
    split: str
    text_field: str

    @property
    def source(self) -> str:
        """Id and split."""
        return f"{self.hub_id} ({self.split})"

    def fingerprint(self) -> str:
        """By name, so that being current needs no network; a local folder by its files' sizes."""
        files = ""
        if Path(self.hub_id).is_dir():
            found = sorted(path for path in Path(self.hub_id).rglob("*") if path.is_file())
            sizes = "\0".join(f"{path.name}\0{path.stat().st_size}" for path in found)
            files = ":" + hashlib.sha256(sizes.encode("utf-8", "surrogateescape")).hexdigest()
        return f"hub:{self.hub_id}:{self.split}:{self.text_field}{files}"

    def total(self) -> int | None:
        """Not asked for: it would need the network."""
        return None

    def work(self) -> Iterator[Work]:
        """The documents, streamed: only what is being read is held."""
        return batched(self._documents())

    def _documents(self) -> Iterator[str]:
        number = 0
        for number, row in enumerate(self._rows(), start=1):
            if self.text_field not in row:
                raise DataError(
                    f"{self.source} must have the column {self.text_field!r}; got {sorted(row)}; "
                    "name the right one with dataset.text_field"
                )
            value = row[self.text_field]
            if not isinstance(value, str):
                raise DataError(f"{self.source} row {number - 1} must hold text; got {value!r:.40}")
            document = cleaned(value)
            if document is not None:
                yield document
        if number == 0:
            raise DataError(f"no documents in {self.source}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        try:
            import datasets
        except ImportError as error:
            raise DataError(
                'dataset=tinystories needs the hub\'s client: pip install "gpt-pipeline[hub]"'
            ) from error
        try:
            with without_retries():
                stream = datasets.load_dataset(self.hub_id, split=self.split, streaming=True)
            yield from stream
        except Exception as error:  # the client raises a dozen unrelated classes
            reason = next(iter(str(error).splitlines()), "")
            raise DataError(
                f"cannot read {self.source} from the Hugging Face hub "
                f"({type(error).__name__}: {reason[:150]}); "
                "use dataset=text dataset.path=FILE instead"
            ) from error
