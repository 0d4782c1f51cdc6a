"""Train from the repository's root: `uv run python src/train.py key=value ...`."""

from gpt_pipeline.cli.main import main

if __name__ == "__main__":
    main(["train"])
