import pytest
import torch

from gpt_pipeline.inference.backends.torch import TorchBackend


def new_cache(model, batch_size):
    return TorchBackend(model).new_cache(batch_size)


CHUNKS = [[11], [1] * 11, [1, 10], [10, 1], [4, 7], [3, 1, 5, 2], [2, 2, 1, 1, 5]]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@torch.no_grad()
def test_reading_in_chunks_gives_the_logits_of_reading_at_once(model, chunks):
    tokens = torch.randint(37, (4, 11))
    cache = new_cache(model, 4)
    parts = tokens.split(chunks, dim=1)
    logits = torch.cat([cache.logits(part, cache.kv) for part in parts], dim=1)
    torch.testing.assert_close(logits, model(tokens), atol=1e-5, rtol=0)
    assert cache.lengths.tolist() == [11] * 4


@torch.no_grad()
def test_buffers_are_allocated_once_for_all_positions(model):
    cache = new_cache(model, 5)
    layers = cache.kv.layers
    before = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in layers]
    for _ in range(3):
        cache.logits(torch.randint(37, (5, 2)), cache.kv)
    assert before == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in layers]
    assert {layer.keys.shape for layer in layers} == {(5, 3, 11, 8)}


@torch.no_grad()
def test_a_copied_row_goes_on_like_the_one_it_came_from(model):
    prompt, after = torch.randint(37, (1, 4)), torch.randint(37, (3, 2))
    cache = new_cache(model, 3)
    cache.read(1, prompt[0].tolist())
    for target in (0, 2):
        cache.copy_row(1, target)
    logits = cache.logits(after, cache.kv)
    whole = model(torch.cat([prompt.expand(3, -1), after], dim=1))
    torch.testing.assert_close(logits, whole[:, 4:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_rows_of_different_lengths_go_on_like_each_alone(model):
    texts = [torch.randint(37, (1, length)) for length in (1, 9, 4)]
    cache = new_cache(model, 3)
    for row, text in enumerate(texts):
        cache.read(row, text[0, :-1].tolist())
    logits = cache.next_logits([int(text[0, -1]) for text in texts])
    for row, text in enumerate(texts):
        torch.testing.assert_close(logits[row], model(text)[0, -1], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="one token at a time"):
        cache.logits(torch.randint(37, (3, 2)), cache.kv)


@torch.no_grad()
def test_cache_takes_the_precision_of_autocast(model):
    assert new_cache(model, 1).kv.layers[0].keys.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cache = new_cache(model, 1)
        cache.read(0, [1, 2, 3])
        logits = cache.next_logits([4])
    assert cache.kv.layers[0].keys.dtype == torch.bfloat16
    whole = model(torch.tensor([[1, 2, 3, 4]]))[:, -1]
    assert logits.dtype == torch.float32
    assert (logits - whole).abs().max() < 0.05 * whole.abs().max()


@torch.no_grad()
def test_tokens_that_exceed_the_cache_are_refused(model):
    cache = new_cache(model, 1)
    cache.read(0, [0] * 9)
    with pytest.raises(ValueError, match="got 3 after 9 in the cache, and 11"):
        cache.logits(torch.zeros(1, 3, dtype=torch.int64), cache.kv)
    assert cache.lengths.tolist() == [9]


@torch.no_grad()
def test_a_cache_of_another_batch_size_is_refused(model):
    cache = new_cache(model, 3)
    with pytest.raises(ValueError, match="got 1 and 3"):
        cache.logits(torch.zeros(1, 2, dtype=torch.int64), cache.kv)
