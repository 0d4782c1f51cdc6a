"""Where the figures of a run are written: metrics.jsonl, other trackers, plots, run folder."""
