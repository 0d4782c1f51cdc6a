/* Products of a few rows with a matrix that is stored in the order in which it is read. */

#ifndef PRODUCTS_H
#define PRODUCTS_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#else
static int omp_get_thread_num(void) { return 0; }
static int omp_get_num_threads(void) { return 1; }
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#if defined(__x86_64__) && !defined(__AVX512F__)
#define MOST 4 /* rows of x that are computed together: their sums fit into 16 or 32 registers */
#else
#define MOST 8
#endif
#define VECTORS 3
#define PANEL (LANES * VECTORS) /* rows of a matrix that are computed together */
#define LINE 64                /* bytes of a cache line */
#define PAGE 4096              /* bytes of a memory page */
#define NEAR 16384             /* bytes between what one row reads and what is prefetched */

typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef int16_t Shorts __attribute__((vector_size(2 * LANES)));
typedef int32_t Ints __attribute__((vector_size(4 * LANES)));
typedef int8_t Bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

enum { FLOAT32, BFLOAT16, INT8 };          /* Matrix.kind */
enum { STORE, ADD, GELU, SILU, TIMES };    /* what to do with a product */

/* A matrix [rows, columns] as panels [rows / PANEL, columns, PANEL], padded with zeros. */
typedef struct {
    int64_t kind, rows, columns;
    const void *panels;
    const float *scales; /* of rows, for INT8 */
    const float *bias;   /* of rows, or NULL */
} Matrix;

static inline float exponential(float x) { /* Cephes' expf, in a form that compilers vectorise */
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float whole = (x * 1.44269504f + 12582912.0f) - 12582912.0f;
    float r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float y = 1.9875691500e-4f;
    y = y * r + 1.3981999507e-3f;
    y = y * r + 8.3334519073e-3f;
    y = y * r + 4.1665795894e-2f;
    y = y * r + 1.6666665459e-1f;
    y = y * r + 5.0000001201e-1f;
    union { int32_t bits; float value; } power = {((int32_t)whole + 127) << 23};
    return (y * r * r + r + 1.0f) * power.value;
}

static inline float gelu(float x) { /* by tanh(u) = 1 - 2 / (exp(2u) + 1) */
    float u = 0.7978845608f * (x + 0.044715f * x * x * x);
    return 0.5f * x * (2.0f - 2.0f / (exponential(2.0f * u) + 1.0f));
}

static inline float silu(float x) { return x / (1.0f + exponential(-x)); }

static inline __attribute__((always_inline)) Lanes widened(const void *panels, int64_t at, int kind) {
    if (kind == FLOAT32)
        return *(const Lanes *)((const float *)panels + at);
    if (kind == BFLOAT16) {
        Words bits = __builtin_convertvector(*(const Halves *)((const uint16_t *)panels + at), Words);
        bits <<= 16;
        return (Lanes)bits;
    }
#if defined(__AVX512F__)
    __m128i bytes = _mm_loadu_si128((const __m128i *)((const int8_t *)panels + at));
    return (Lanes)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
#elif defined(__AVX2__)
    __m128i bytes = _mm_loadl_epi64((const __m128i *)((const int8_t *)panels + at));
    return (Lanes)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
#else
    Shorts half = __builtin_convertvector(*(const Bytes *)((const int8_t *)panels + at), Shorts);
    Ints whole = __builtin_convertvector(half, Ints); /* gcc does not vectorise a direct conversion */
    return __builtin_convertvector(whole, Lanes);
#endif
}

/* sums[row] = a panel times some rows of x; `rows` and `kind` are constants where it is called.
   `each` bytes from `ahead` on are prefetched at each step. */
static inline __attribute__((always_inline)) void
tile(const Matrix *m, int64_t at, const float *x, const int rows, const int kind,
     const char *ahead, int64_t each, float *sums) {
    Lanes acc[MOST][VECTORS] = {{{0}}};
    const char *until = ahead;
    for (int64_t k = 0; k < m->columns; k++, at += PANEL) {
        for (until += each; ahead < until; ahead += LINE) __builtin_prefetch(ahead, 0, rows == 1 ? 3 : 2);
        Lanes w[VECTORS];
#pragma GCC unroll 3
        for (int v = 0; v < VECTORS; v++) w[v] = widened(m->panels, at + v * LANES, kind);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 3
            for (int v = 0; v < VECTORS; v++)
                acc[r][v] += w[v] * x[r * m->columns + k];
    }
    memcpy(sums, acc, sizeof(float) * rows * PANEL);
}

#define TILES(kind)                                                                     \
    static void tiles_##kind(const Matrix *m, int64_t at, const float *x, int rows,      \
                             const char *ahead, int64_t each, float *sums) {             \
        if (rows == 8 && MOST == 8) tile(m, at, x, MOST, kind, ahead, each, sums);         \
        else if (rows == 4) tile(m, at, x, 4, kind, ahead, each, sums);                    \
        else if (rows == 2) tile(m, at, x, 2, kind, ahead, each, sums);                    \
        else tile(m, at, x, 1, kind, ahead, each, sums);                                   \
    }
TILES(FLOAT32)
TILES(BFLOAT16)
TILES(INT8)

/* Scale a row's sums of one panel, add the bias, and store them as `then` says. */
static void finish(const Matrix *m, int64_t first, float *sums, float *out, int then) {
    int64_t number = m->rows - first < PANEL ? m->rows - first : PANEL;
    if (m->scales)
        for (int64_t j = 0; j < number; j++) sums[j] *= m->scales[first + j];
    if (m->bias)
        for (int64_t j = 0; j < number; j++) sums[j] += m->bias[first + j];
    out += first;
    if (then == STORE)
        memcpy(out, sums, sizeof(float) * number);
    else if (then == ADD)
        for (int64_t j = 0; j < number; j++) out[j] += sums[j];
    else if (then == TIMES)
        for (int64_t j = 0; j < number; j++) out[j] *= sums[j];
    else if (then == GELU)
        for (int64_t j = 0; j < number; j++) out[j] = gelu(sums[j]);
    else
        for (int64_t j = 0; j < number; j++) out[j] = silu(sums[j]);
}

/* out [number, rows] from x [number, columns]: this thread's share of the panels. While many rows
   read a panel, the next one is prefetched evenly, so that neither waits for the other. */
static void product(const Matrix *m, int64_t number, const float *x, float *out, int then) {
    int64_t panels = (m->rows + PANEL - 1) / PANEL;
    int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    int64_t step = PANEL * (m->kind == FLOAT32 ? 4 : m->kind == BFLOAT16 ? 2 : 1), rows;
    float sums[MOST * PANEL];
    for (int64_t p = panels * thread / threads; p < panels * (thread + 1) / threads; p++)
        for (int64_t done = 0; done < number; done += rows) {
            for (rows = MOST; rows > number - done;) rows /= 2;
            const float *some = x + done * m->columns;
            const char *here = (const char *)m->panels + p * m->columns * step;
            const char *ahead = here + (number == 1 ? NEAR : m->columns * step * (number + done) / number);
            int64_t at = p * m->columns * PANEL, each = (step * rows + number - 1) / number;
            if (m->kind == FLOAT32)
                tiles_FLOAT32(m, at, some, rows, ahead, each, sums);
            else if (m->kind == BFLOAT16)
                tiles_BFLOAT16(m, at, some, rows, ahead, each, sums);
            else
                tiles_INT8(m, at, some, rows, ahead, each, sums);
            for (int64_t r = 0; r < rows; r++)
                finish(m, p * PANEL, sums + r * PANEL, out + (done + r) * m->rows, then);
        }
}

#endif
