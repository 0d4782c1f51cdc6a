"""Where the figures of a run go besides metrics.jsonl: one small protocol."""

from collections.abc import Mapping
from typing import Any, Protocol


class Tracker(Protocol):
    """Takes the figures of a run, for example to show them on a server.

    metrics.jsonl is the record of a run: plots, `verify` and a resumed run read it and nothing
    else. A tracker gets the same entries. What it raises is a warning and does not stop the run.
    """

    def log(self, entry: Mapping[str, Any]) -> None:
        """Take one entry of metrics.jsonl (docs/formats.md).

        `entry["step"]` never decreases except after `rewind`. A step has at most two entries, one
        with training figures and one with validation figures.
        """

    def rewind(self, *, step: int) -> None:
        """The run continues from `step`, and figures of later steps are void.

        Called when a session starts, and after a rollback. The later steps follow again, with
        other figures. A tracker that can delete deletes them. One that cannot, as most servers,
        must show the last entry of each step: it logs against its own counter with `step` as the
        x-axis, or starts a new series.
        """

    def close(self) -> None:
        """Send what is left; no entry follows."""
