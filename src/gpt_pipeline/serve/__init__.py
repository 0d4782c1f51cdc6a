"""OpenAI's Completions API over HTTP for one model, and a web page.

A request passes limits.py and app.py to completions.py. plan.py turns it into samples, which wait
in scheduler.py and are decoded in one batch with those of other requests, by one thread.
completions.py and logprobs.py turn their tokens into the response. server.py runs the process.
"""

from gpt_pipeline.serve.app import create_app
from gpt_pipeline.serve.served import Served
from gpt_pipeline.serve.server import listen, run, url_of

__all__ = ["Served", "create_app", "listen", "run", "url_of"]
