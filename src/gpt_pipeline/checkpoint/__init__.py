"""Bundles on disk: a folder that holds all that inference and a resumed run need.

store.py writes and prunes the bundles of a run, writer.py does so beside the training, find.py
looks for them, bundle.py opens and verifies one; manifest.py is the list of its files, versions.py
knows the older formats, lock.py lets one process write, release.py makes bundles to give away.
docs/formats.md describes them for other programs.
"""

from gpt_pipeline.checkpoint.bundle import Bundle, load_weights, open_bundle
from gpt_pipeline.checkpoint.find import best_of, bundle_folders, newest
from gpt_pipeline.checkpoint.manifest import Manifest
from gpt_pipeline.checkpoint.release import release, released_weights
from gpt_pipeline.checkpoint.store import BundleStore, TrainingPart
from gpt_pipeline.checkpoint.versions import FORMAT_VERSION
from gpt_pipeline.checkpoint.writer import BundleWriter

__all__ = [
    "FORMAT_VERSION",
    "Bundle",
    "BundleStore",
    "BundleWriter",
    "Manifest",
    "TrainingPart",
    "best_of",
    "bundle_folders",
    "load_weights",
    "newest",
    "open_bundle",
    "release",
    "released_weights",
]
