"""`python -m gpt_pipeline` is the command `gpt-pipeline`."""

from gpt_pipeline.cli.main import main

if __name__ == "__main__":
    main()
