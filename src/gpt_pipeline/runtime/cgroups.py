"""The Linux control groups of this process, which limit it in a container or a batch job."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cgroup_folders(controller: str) -> Iterator[Path]:
    """Folders of this process's control groups for a controller, from its own up to the root.

    The limits of all of them apply. In a container the root is the container's own group. Version 2
    has one hierarchy, version 1 has one per controller.
    """
    lines = [""]
    with suppress(OSError):
        lines = _OWN.read_text(encoding="utf-8", errors="replace").splitlines() or lines
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        root = _ROOT / controller if controllers else _ROOT
        own = root / path.lstrip("/")
        yield from (own, *(parent for parent in own.parents if parent.is_relative_to(root)))
