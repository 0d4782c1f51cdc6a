"""Learns a BPE's merges from counted words: the same as the library's trainer, which has to see
every occurrence of a word. Pays where a text has few different words.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import pairwise

Pair = tuple[int, int]


def learn_merges(
    words: Mapping[str, int], vocab: Mapping[str, int], vocab_size: int
) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary, grown to `vocab_size` where the words allow, and the merges in order.

    The most frequent pair is merged first, of equals the one of the smallest ids.

    Args:
        words: how often each word, written in characters of `vocab`, was seen.
        vocab: ids, counted from 0, of single characters and special tokens.
        vocab_size: entries at most.
    """
    ids = dict(vocab)
    names = list(ids)
    spelled = [[ids[char] for char in word] for word in words]
    seen = list(words.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)
    for number, word in enumerate(spelled):
        for pair in pairwise(word):
            counts[pair] += seen[number]
            places[pair].add(number)
    queue = [(-counts[pair], pair) for pair in places]
    heapq.heapify(queue)
    merges = []
    while queue and len(ids) < vocab_size:
        count, pair = heapq.heappop(queue)
        if -count != counts[pair]:  # it has become rarer since it was queued
            heapq.heappush(queue, (-counts[pair], pair))
            continue
        if count == 0:
            break
        left, right = names[pair[0]], names[pair[1]]
        merges.append((left, right))
        new = ids.setdefault(left + right, len(names))
        if new == len(names):
            names.append(left + right)
        grown = set()
        for number in places.pop(pair):
            for changed, by in _merge(spelled[number], pair, new):
                counts[changed] += by * seen[number]
                if by > 0:
                    places[changed].add(number)
                    grown.add(changed)
        for changed in grown:
            heapq.heappush(queue, (-counts[changed], changed))
    return ids, merges


def _merge(word: list[int], pair: Pair, new: int) -> list[tuple[Pair, int]]:
    """Put `new` in place of each `pair`; which pairs come and go by that."""
    changes = []
    first, second = pair
    at = 0
    while at < len(word) - 1:
        if word[at] == first and word[at + 1] == second:
            if at > 0:
                changes += [((word[at - 1], first), -1), ((word[at - 1], new), 1)]
            word[at : at + 2] = [new]
            if at + 1 < len(word):
                changes += [((second, word[at + 1]), -1), ((new, word[at + 1]), 1)]
        at += 1
    return changes
