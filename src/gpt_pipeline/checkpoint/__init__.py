"""Bundles on disk: a folder that holds all that inference and a resumed run need.

store.py writes, finds and prunes bundles; bundle.py opens and verifies one; manifest.py is the
list of its files. docs/formats.md describes them for other programs.
"""

from gpt_pipeline.checkpoint.bundle import Bundle, load_weights, open_bundle
from gpt_pipeline.checkpoint.manifest import FORMAT_VERSION, Manifest
from gpt_pipeline.checkpoint.store import BundleStore, TrainingPart, best_of, newest

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "BundleStore",
    "Manifest",
    "TrainingPart",
    "best_of",
    "load_weights",
    "newest",
    "open_bundle",
]
