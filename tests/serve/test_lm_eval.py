"""lm-evaluation-harness against the server: its scores are those of the same weights in process."""

import math

import pytest
import torch

from gpt_pipeline.checkpoint import open_checkpoint
from gpt_pipeline.cli.checkpoint import SHIPPED

pytest.importorskip("lm_eval", reason="needs lm-evaluation-harness: make install-dev")

pytestmark = pytest.mark.slow

CONTEXT, ANSWER = 256, 24
STORY = "Once upon a time, there was a little girl named Lily. She loved to play"
QUESTIONS = [
    {"start": STORY, "endings": ["outside in the park", "the tax", "with her toys"], "gold": 2},
    {"start": "Tom had a big red", "endings": ["ball", "because", "car"], "gold": 0},
    {"start": "The cat was sad. The cat", "endings": ["cried", "of", "wanted to"], "gold": 0},
    # after these endings end-of-text comes, which is the one token that the harness asks for
    {"start": "They lived happily ever", "endings": ["after. The end.", "after."], "gold": 0},
    {"start": "", "endings": ["Once upon a time", "Zebra"], "gold": 0},
]  # fmt: skip
TEXTS = [
    {"text": f"{STORY} outside. One day, she saw a big dog."},
    {"text": "Ben went home."},
    {"text": f"{STORY}. " * 20},  # longer than the context
]
BACKENDS = {
    "remote": {"tokenizer_backend": "remote"},
    # the folder's tokenizer.json does not say which token begins a text
    "huggingface": {
        "tokenizer_backend": "huggingface", "tokenizer": str(SHIPPED), "custom_prefix_token_id": 0,
    },
    "in batches": {"tokenizer_backend": "remote", "batch_size": 5},
    "at once": {"tokenizer_backend": "remote", "num_concurrent": 3, "batch_size": 2},
}  # fmt: skip


def tasks():
    """A task of each kind, of our own; nothing of them is fetched."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    def task(name, docs, **config):
        data = {"test": Dataset.from_list(docs)}
        common = {"task": name, "custom_dataset": lambda **_: data, "test_split": "test"}
        return ConfigurableTask(config={**common, **config})

    choice = task(
        "ours_choice", QUESTIONS, output_type="multiple_choice", doc_to_text="start",
        doc_to_choice="endings", doc_to_target="gold", metric_list=[{"metric": "acc"}],
    )  # fmt: skip
    rolling = task(
        "ours_rolling", TEXTS, output_type="loglikelihood_rolling", doc_to_text="",
        doc_to_target="text", metric_list=[{"metric": "bits_per_byte"}],
    )  # fmt: skip
    until = task(
        "ours_until", QUESTIONS[:3], output_type="generate_until", doc_to_text="start",
        doc_to_target="{{endings[gold]}}",
        generation_kwargs={"until": [".", "zzz"], "max_gen_toks": ANSWER, "temperature": 0},
        metric_list=[{"metric": "exact_match"}],
    )  # fmt: skip
    return {"ours_choice": choice, "ours_rolling": rolling, "ours_until": until}


def in_process():
    """The harness's own interface, answered by the model without a server."""
    from lm_eval.api.model import TemplateLM
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    checkpoint = open_checkpoint(SHIPPED, training=False)
    model, tokenizer = checkpoint.load_model(torch.device("cpu")), checkpoint.tokenizer()

    class InProcess(TemplateLM):
        eot_token_id = tokenizer.eot_id

        def tok_encode(self, string, **_):
            return tokenizer.encode(string)

        def _loglikelihood_tokens(self, requests, **_):
            return [self.scored(context + ending, len(ending)) for _, context, ending in requests]

        @torch.inference_mode()
        def scored(self, ids, number):
            table = model(torch.tensor([ids[:-1]]))[0].double().log_softmax(-1)[-number:]
            ending = torch.tensor(ids[-number:])
            total = table.gather(1, ending[:, None]).sum().item()
            return total, bool((table.argmax(-1) == ending).all())

        def loglikelihood_rolling(self, requests, **_):
            found = []
            for (text,) in (request.args for request in requests):
                windows = get_rolling_token_windows(
                    tokenizer.encode(text), tokenizer.eot_id, CONTEXT - 2, 1
                )
                parts = [make_disjoint_window(window) for window in windows]
                found.append(sum(self.scored([*a, *b], len(b))[0] for a, b in parts))
            return found

        @torch.inference_mode()
        def generate_until(self, requests, **_):
            found = []
            for prompt, settings in (request.args for request in requests):
                ids = tokenizer.encode(prompt)
                start = len(ids)
                while len(ids) < start + ANSWER and ids[-1] != tokenizer.eot_id:
                    ids.append(model(torch.tensor([ids]))[0, -1].argmax().item())
                text = tokenizer.decode([each for each in ids[start:] if each != tokenizer.eot_id])
                found.append(text.split(settings["until"][0])[0])
            return found

    return InProcess()


def evaluated(lm):
    """What the harness makes of its tasks, and the answer to each of its requests."""
    from lm_eval import evaluator

    result = evaluator.evaluate(lm, tasks(), bootstrap_iters=0)
    answers = {
        name: [response for sample in samples for response in sample["filtered_resps"]]
        for name, samples in result["samples"].items()
    }
    return result["results"], answers


@pytest.fixture(scope="module")
def expected():
    return evaluated(in_process())


@pytest.mark.parametrize("backend", BACKENDS)
def test_its_scores_are_those_of_the_same_weights(page_url, expected, backend, monkeypatch):
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lm = LocalCompletionsAPI(
        model=SHIPPED.name, base_url=f"{page_url}/v1/completions", max_length=CONTEXT,
        max_gen_toks=ANSWER, max_retries=1, **BACKENDS[backend],
    )  # fmt: skip
    results, answers = evaluated(lm)
    wanted_results, wanted = expected
    assert answers["ours_until"] == wanted["ours_until"]
    # sums of up to 360 tokens, in float32 there and in float64 here: 1e-6 of the sum
    assert answers["ours_rolling"] == pytest.approx(wanted["ours_rolling"], abs=1e-4, rel=1e-6)
    for (got, greedy), (score, is_greedy) in zip(
        answers["ours_choice"], wanted["ours_choice"], strict=True
    ):
        assert math.isclose(got, score, abs_tol=1e-4)
        assert greedy == is_greedy
    assert {True, False} == {greedy for _, greedy in answers["ours_choice"]}
    assert results["ours_choice"]["acc,none"] == wanted_results["ours_choice"]["acc,none"]
