"""The decoder in C, compiled for this machine's processor when it is first needed."""

from gpt_pipeline.inference.backends.native.backend import NativeBackend
from gpt_pipeline.inference.backends.native.library import CompilerMissing, load_library

__all__ = ["CompilerMissing", "NativeBackend", "load_library"]
