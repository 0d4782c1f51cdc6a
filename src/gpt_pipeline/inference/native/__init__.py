"""Generation's forward pass in C, compiled for this machine's processor when it is first wanted."""

from gpt_pipeline.inference.native.decoder import Decoder
from gpt_pipeline.inference.native.library import CompilerMissing, load_library

__all__ = ["CompilerMissing", "Decoder", "load_library"]
