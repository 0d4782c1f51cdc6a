"""The words of a run that takes a second."""

SMALL = """
model=tiny tokenizer=bytes dataset=text dataset.path=stories.txt model.embed_dim=32
model.ff_hidden_dim=48 model.num_layers=1 model.max_length=32 schedule.max_steps=12
model.eval_freq=6 model.eval_iter=2 checkpoint.save_every=5 logging.log_every=1
logging.sample_tokens=8 model.max_new_tokens=12 model.warmup_steps=2 dataset.num_workers=0
runtime.num_threads=1 model.checkpoint_name=small
""".split()

STORY = "Once upon a time, {name} had a red ball. {name} lost the ball. Then {name} found it.\n"
NAMES = ("Tom", "Sue", "Ann", "Ben", "Lily", "Max")


def corpus() -> str:
    """Sixty short stories."""
    names = [NAMES[i % 6] + "y" * (i // 6) for i in range(60)]
    return "<|endoftext|>\n".join(STORY.format(name=name) for name in names)
