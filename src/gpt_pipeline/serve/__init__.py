"""An HTTP server for one model, as OpenAI's Completions API defines it, with a page beside it.

A request goes through limits.py and app.py to completions.py; plan.py makes samples of it, which
wait in scheduler.py and are decoded together with those of all others by one thread; texts.py
turns their tokens into the response. server.py is the process around it.
"""

from gpt_pipeline.serve.app import create_app
from gpt_pipeline.serve.served import Served
from gpt_pipeline.serve.server import listen, run, url_of

__all__ = ["Served", "create_app", "listen", "run", "url_of"]
