"""loss_plot.png and lr_plot.png, drawn from the lines of metrics.jsonl."""

from gpt_pipeline.plotting.curves import draw_plots

__all__ = ["draw_plots"]
