"""An engine without a model: it says what the test wants, as fast or as slowly as it wants."""

import itertools
import threading
import time

from gpt_pipeline.errors import UserError
from gpt_pipeline.inference import SampledToken

ALPHABET = b"abcdefghijklmnopqrstuvwxyz"
EOT = 256


class FakeEngine:
    """Says `text` over and over, a byte a step; ends by end-of-text after `eot_after` tokens.

    `step_s` is how long a step takes, and none begins before `may_step` is set; `failures` are
    raised by the next steps, one each; `joined` has the requests in the order in which they were
    added, `batches` the keys of each step.
    """

    def __init__(self, slots=4, *, text=ALPHABET, eot_after=None, step_s=0.0, context=32):
        self.slots, self.text, self.eot_after, self.step_s = slots, text, eot_after, step_s
        self.context = context
        self.failures, self.joined, self.removed, self.batches = [], [], [], []
        self.keep_batches = False
        self.may_step = threading.Event()
        self.may_step.set()
        self.rows = {}
        self.keys = itertools.count()

    @property
    def active(self):
        return len(self.rows)

    @property
    def cache_usage(self):
        return len(self.rows) / self.slots

    @property
    def free(self):
        return self.slots - self.active

    def check(self, request):
        if len(request.prompt) > self.context:
            raise UserError(f"the prompt must be at most {self.context} tokens")
        if any(not 0 <= token <= EOT for token in request.prompt):
            raise ValueError(f"token ids must be from 0 to {EOT}")

    def add(self, request):
        assert self.free > 0
        key = next(self.keys)
        self.rows[key] = [request, 0]
        self.joined = [*self.joined, request][-100:]
        return key

    def remove(self, key):
        if self.rows.pop(key, None) is not None:
            self.removed = [*self.removed, key][-100:]

    def step(self):
        assert self.may_step.wait(30)
        time.sleep(self.step_s)
        if self.failures:
            raise self.failures.pop(0)
        if self.keep_batches:
            self.batches.append(tuple(self.rows))
        drawn = []
        for key, row in list(self.rows.items()):
            drawn.append((key, self.draw(*row)))
            row[1] += 1
            if drawn[-1][1].finish_reason:
                del self.rows[key]
        return drawn

    def draw(self, request, number):
        sampling, token = request.sampling, self.text[number % len(self.text)]
        best = [(token, -0.5), (EOT, -1.5), (0xE2, -2.5), (ord("z"), float("-inf"))]
        told = {}
        if sampling.logprobs is not None:
            told = {"logprob": -0.5, "alternatives": tuple(best[: sampling.logprobs])}
        if self.eot_after == number:
            return SampledToken(None, "stop", **told)
        last = number + 1 == sampling.max_new_tokens
        return SampledToken(token, "length" if last else None, **told)
