"""The parts that `GPTModel` is built from, one noun a file."""
