"""The command line: the only part that composes a config, prints, and exits."""
