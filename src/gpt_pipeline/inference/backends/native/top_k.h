/* The largest of many numbers, without sorting all of them. */

#ifndef TOP_K_H
#define TOP_K_H

#include <math.h>
#include <stdint.h>

#define BLOCK 64

/* A min-heap of values, and their ids. */
typedef struct {
    float *values;
    int64_t *ids, number;
} Heap;

static void sink(const Heap *heap, int64_t at) {
    float value = heap->values[at];
    int64_t id = heap->ids[at];
    for (int64_t child; (child = 2 * at + 1) < heap->number; at = child) {
        if (child + 1 < heap->number && heap->values[child + 1] < heap->values[child])
            child++;
        if (heap->values[child] >= value)
            break;
        heap->values[at] = heap->values[child];
        heap->ids[at] = heap->ids[child];
    }
    heap->values[at] = value;
    heap->ids[at] = id;
}

/* Integers in the order of the floats: from a float, and back. */
static int64_t rank_of(float value) {
    union { float value; int32_t bits; } as = {value};
    return as.bits < 0 ? (int64_t)INT32_MIN - as.bits : as.bits;
}

static float of_rank(int64_t rank) {
    union { int32_t bits; float value; } as = {(int32_t)(rank < 0 ? INT32_MIN - rank : rank)};
    return as.value;
}

/* The number-th largest of values [size], by bisection. */
static float nth_largest(const float *values, int64_t size, int64_t number) {
    int64_t low = rank_of(-INFINITY), high = rank_of(INFINITY);
    while (low < high) {
        int64_t middle = low + (high - low + 1) / 2;
        float least = of_rank(middle);
        int32_t count = 0;
#pragma omp simd reduction(+ : count)
        for (int64_t i = 0; i < size; i++) count += values[i] >= least ? 1 : 0;
        if (count >= number)
            low = middle;
        else
            high = middle - 1;
    }
    return of_rank(low);
}

/* The heap.number largest of values [size], descending, in any order among equal values. */
static void topk_of(const float *values, int64_t size, Heap heap) {
    int64_t blocks = (size + BLOCK - 1) / BLOCK, held = 0, number = heap.number;
    float most[blocks]; /* the maximum of each block */
    for (int64_t b = 0; b < blocks; b++) {
        int64_t end = (b + 1) * BLOCK < size ? (b + 1) * BLOCK : size;
        float found = values[b * BLOCK];
#pragma omp simd reduction(max : found)
        for (int64_t i = b * BLOCK; i < end; i++) found = values[i] > found ? values[i] : found;
        most[b] = found;
    }
    float least = blocks >= number ? nth_largest(most, blocks, number) : -INFINITY;
    for (int64_t b = 0; b < blocks; b++) {
        if (most[b] < least) /* almost always */
            continue;
        for (int64_t i = b * BLOCK; i < size && i < (b + 1) * BLOCK; i++)
            if (held == number && values[i] > heap.values[0]) {
                heap.values[0] = values[i], heap.ids[0] = i;
                sink(&heap, 0);
            } else if (held < number && values[i] >= least) {
                heap.values[held] = values[i], heap.ids[held++] = i;
                for (int64_t at = held == number ? number / 2 : 0; at-- > 0;) sink(&heap, at);
            }
    }
    for (int64_t last = --heap.number; last > 0; last = --heap.number) {
        float value = heap.values[last];
        int64_t id = heap.ids[last];
        heap.values[last] = heap.values[0], heap.ids[last] = heap.ids[0];
        heap.values[0] = value, heap.ids[0] = id;
        sink(&heap, 0);
    }
}

#endif
