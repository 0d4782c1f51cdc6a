"""What `verify` checks: the files of checkpoints, token files and run folders."""
