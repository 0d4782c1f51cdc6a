"""Text in, a small trained GPT out. Importing this loads nothing else; see docs/architecture.md."""

__version__ = "0.1.0"
