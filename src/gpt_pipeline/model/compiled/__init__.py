"""Generation's forward pass in C, compiled for this machine's processor when it is first wanted."""

from gpt_pipeline.model.compiled.decoder import Decoder
from gpt_pipeline.model.compiled.library import CompilerMissing, load_library

__all__ = ["CompilerMissing", "Decoder", "load_library"]
