"""Generate from the repository's root: `uv run python src/inference.py key=value ...`."""

from gpt_pipeline.cli.main import main

if __name__ == "__main__":
    main(["inference"])
