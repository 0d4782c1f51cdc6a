import pytest
import torch

from gpt_pipeline.inference.kv_cache import KVCache

CHUNKS = [[11], [1] * 11, [1, 10], [10, 1], [4, 7], [3, 1, 5, 2], [2, 2, 1, 1, 5]]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@torch.no_grad()
def test_reading_in_chunks_gives_the_logits_of_reading_at_once(model, chunks):
    tokens = torch.randint(37, (4, 11))
    cache = KVCache.for_model(model, 4)
    logits = torch.cat([model(chunk, cache) for chunk in tokens.split(chunks, dim=1)], dim=1)
    torch.testing.assert_close(logits, model(tokens), atol=1e-5, rtol=0)
    assert cache.lengths.tolist() == [11] * 4


@torch.no_grad()
def test_last_only_fills_the_cache_with_every_position(model):
    tokens = torch.randint(37, (2, 9))
    cache = KVCache.for_model(model, 2)
    model(tokens[:, :6], cache, last_only=True)
    logits = model(tokens[:, 6:], cache)
    torch.testing.assert_close(logits, model(tokens)[:, 6:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_buffers_are_allocated_once_for_all_positions(model):
    cache = KVCache.for_model(model, 5)
    before = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    for _ in range(3):
        model(torch.randint(37, (5, 2)), cache)
    assert before == [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    assert {layer.keys.shape for layer in cache.layers} == {(5, 3, 11, 8)}


@torch.no_grad()
def test_a_copied_row_goes_on_like_the_one_it_came_from(model):
    prompt, after = torch.randint(37, (1, 4)), torch.randint(37, (3, 2))
    cache = KVCache.for_model(model, 3)
    model(prompt, cache.rows(1, 1))
    for target in (0, 2):
        cache.copy_row(1, target)
    logits = model(after, cache)
    whole = model(torch.cat([prompt.expand(3, -1), after], dim=1))
    torch.testing.assert_close(logits, whole[:, 4:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_rows_of_different_lengths_go_on_like_each_alone(model):
    texts = [torch.randint(37, (1, length)) for length in (1, 9, 4)]
    cache = KVCache.for_model(model, 3)
    for row, text in enumerate(texts):
        if text.shape[1] > 1:
            model(text[:, :-1], cache.rows(row, 1))
    logits = model(torch.cat([text[:, -1:] for text in texts]), cache)
    for row, text in enumerate(texts):
        torch.testing.assert_close(logits[row, 0], model(text)[0, -1], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="one token at a time"):
        model(torch.randint(37, (3, 2)), cache)


@torch.no_grad()
def test_cache_takes_the_precision_of_autocast(model):
    assert KVCache.for_model(model, 1).layers[0].keys.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cache = KVCache.for_model(model, 1)
        logits = model(torch.tensor([[1, 2, 3]]), cache)
        logits = model(torch.tensor([[4]]), cache)
    assert cache.layers[0].keys.dtype == torch.bfloat16
    whole = model(torch.tensor([[1, 2, 3, 4]]), last_only=True)
    assert (logits.float() - whole).abs().max() < 0.05 * whole.abs().max()


@torch.no_grad()
def test_tokens_that_exceed_the_cache_are_refused(model):
    cache = KVCache.for_model(model, 1)
    model(torch.zeros(1, 9, dtype=torch.int64), cache)
    with pytest.raises(ValueError, match="got 3 after 9 in the cache, and 11"):
        model(torch.zeros(1, 3, dtype=torch.int64), cache)
    assert cache.lengths.tolist() == [9]


@torch.no_grad()
def test_a_cache_of_another_batch_size_is_refused(model):
    with pytest.raises(ValueError, match="got 1 and 3"):
        model(torch.zeros(1, 2, dtype=torch.int64), KVCache.for_model(model, 3))
