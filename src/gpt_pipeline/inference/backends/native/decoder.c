/* The forward pass of decoding on a CPU, with float32 activations; compiled once per machine.

   Reading the weights takes most of the time, so all else must be small: one team of threads goes
   through all layers, and each product reads its matrix once, in memory order. The sums of a token
   have the same order whatever other tokens are computed with it, so that batched output is
   bit-identical to unbatched output. The computation and the names are those of model/blocks;
   backend.py lists the values of the config that are implemented. */

#include "top_k.h"
#include "products.h"

typedef struct {
    const float *weight, *bias; /* no weight: identity; no bias: RMSNorm */
} Norm;

typedef struct {
    Norm attention_norm, q_norm, k_norm, feed_forward_norm;
    Matrix qkv, out, gate, up, down; /* no gate.panels: GELU */
} Layer;

typedef struct {
    int64_t num_layers, embed_dim, ff_hidden_dim, num_heads, num_kv_heads, head_dim, max_length;
    const Layer *layers;
    Matrix token;
    const float *position; /* [max_length, embed_dim], or NULL */
    const float *cos, *sin; /* [max_length, head_dim / 2], or NULL */
    Norm final_norm;
    float eps;
} Model;

int64_t panel(void) { return PANEL; }

static inline float dot(const float *a, const float *b, int64_t number) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < number; i++) sum += a[i] * b[i];
    return sum;
}

static void normalise(const Norm *norm, const float *x, float *out, int64_t width, float eps) {
    float mean = 0.0f, squares = 0.0f;
    if (norm->bias) {
#pragma omp simd reduction(+ : mean)
        for (int64_t i = 0; i < width; i++) mean += x[i];
        mean /= width;
    }
#pragma omp simd reduction(+ : squares)
    for (int64_t i = 0; i < width; i++) squares += (x[i] - mean) * (x[i] - mean);
    float scale = 1.0f / sqrtf(squares / width + eps);
    for (int64_t i = 0; i < width; i++)
        out[i] = (x[i] - mean) * scale * norm->weight[i] + (norm->bias ? norm->bias[i] : 0.0f);
}

static void normalise_all(const Norm *norm, const float *x, float *out, int64_t number,
                          const Model *model) {
#pragma omp for schedule(static)
    for (int64_t n = 0; n < number; n++)
        normalise(norm, x + n * model->embed_dim, out + n * model->embed_dim, model->embed_dim,
                  model->eps);
}

/* A token's embedding, from the panels of the head. */
static void embed(const Model *model, int64_t token, int64_t position, float *out) {
    const Matrix *m = &model->token;
    int64_t at = token / PANEL * m->columns * PANEL + token % PANEL;
    for (int64_t k = 0; k < m->columns; k++, at += PANEL) {
        if (m->kind == FLOAT32)
            out[k] = ((const float *)m->panels)[at];
        else if (m->kind == BFLOAT16) {
            union { uint32_t bits; float value; } wide = {
                (uint32_t)((const uint16_t *)m->panels)[at] << 16};
            out[k] = wide.value;
        } else
            out[k] = ((const int8_t *)m->panels)[at] * m->scales[token];
        if (model->position)
            out[k] += model->position[position * m->columns + k];
    }
}

/* Normalise a query or key in place, and rotate it by the angles of its position. */
static void norm_and_rotate(const Model *model, const Norm *norm, float *head, int64_t position) {
    int64_t half = model->head_dim / 2;
    if (norm->weight)
        normalise(norm, head, head, model->head_dim, model->eps);
    if (!model->cos)
        return;
    const float *cos = model->cos + position * half, *sin = model->sin + position * half;
    for (int64_t i = 0; i < half; i++) {
        float a = head[i], b = head[half + i];
        head[i] = a * cos[i] - b * sin[i];
        head[half + i] = b * cos[i] + a * sin[i];
    }
}

/* Attention of q [width] over keys and values [length, width]; four positions at a time, so that
   their sums do not wait for each other. */
static void attend(const float *q, const float *keys, const float *values, int64_t length,
                   int64_t width, float *scores, float *out) {
    float scale = 1.0f / sqrtf((float)width), largest = -INFINITY, sum = 0.0f;
    int64_t t = 0;
    for (; t + 4 <= length; t += 4) {
        const float *k = keys + t * width, *v = values + t * width;
        for (int64_t at = 0; at < 4 * width; at += LINE / (int64_t)sizeof(float)) {
            __builtin_prefetch((const char *)(k + at) + PAGE, 0, 3); /* the hardware prefetcher stops at pages */
            __builtin_prefetch(v + at, 0, 2);
        }
        float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
#pragma omp simd reduction(+ : a, b, c, d)
        for (int64_t i = 0; i < width; i++) {
            a += q[i] * k[i];
            b += q[i] * k[width + i];
            c += q[i] * k[2 * width + i];
            d += q[i] * k[3 * width + i];
        }
        scores[t] = a * scale, scores[t + 1] = b * scale;
        scores[t + 2] = c * scale, scores[t + 3] = d * scale;
    }
    for (; t < length; t++) scores[t] = dot(q, keys + t * width, width) * scale;
    for (t = 0; t < length; t++) largest = scores[t] > largest ? scores[t] : largest;
#pragma omp simd
    for (t = 0; t < length; t++) scores[t] = exponential(scores[t] - largest);
    for (t = 0; t < length; t++) sum += scores[t];
    memset(out, 0, sizeof(float) * width);
    for (t = 0; t + 4 <= length; t += 4) {
        const float *v = values + t * width;
        float a = scores[t] / sum, b = scores[t + 1] / sum;
        float c = scores[t + 2] / sum, d = scores[t + 3] / sum;
#pragma omp simd
        for (int64_t i = 0; i < width; i++)
            out[i] += (a * v[i] + b * v[width + i]) + (c * v[2 * width + i] + d * v[3 * width + i]);
    }
    for (; t < length; t++)
#pragma omp simd
        for (int64_t i = 0; i < width; i++) out[i] += scores[t] / sum * values[t * width + i];
}

/* The tokens of a pass: token n is at positions[n] of the cache's row rows[n]. */
typedef struct {
    int64_t number;
    const int64_t *tokens, *rows, *positions;
    float *const *keys, *const *values; /* of each layer: [row, num_kv_heads, max_length, head_dim] */
} Pass;

typedef struct {
    float *x, *normed, *qkv, *gathered, *hidden, *own;
} Scratch;

/* A thread's own floats, and a cache line of distance to the next thread's. */
static int64_t own_size(const Model *model) { return model->head_dim + model->max_length + 16; }

static void attention(const Model *model, int64_t layer, const Pass *pass, const Scratch *s) {
    const Layer *l = &model->layers[layer];
    int64_t heads = model->num_heads, shared = model->num_kv_heads, width = model->head_dim;
    int64_t all = (heads + 2 * shared) * width;
#pragma omp for schedule(static)
    for (int64_t item = 0; item < pass->number * shared; item++) {
        int64_t n = item / shared, g = item % shared, position = pass->positions[n];
        int64_t at = (pass->rows[n] * shared + g) * model->max_length + position;
        float *k = s->qkv + n * all + (heads + g) * width, *v = k + shared * width;
        norm_and_rotate(model, &l->k_norm, k, position);
        memcpy(pass->keys[layer] + at * width, k, sizeof(float) * width);
        memcpy(pass->values[layer] + at * width, v, sizeof(float) * width);
    }
#pragma omp for schedule(dynamic)
    for (int64_t item = 0; item < pass->number * heads; item++) {
        int64_t n = item / heads, h = item % heads, position = pass->positions[n];
        int64_t at = (pass->rows[n] * shared + h / (heads / shared)) * model->max_length * width;
        float *q = s->qkv + n * all + h * width;
        norm_and_rotate(model, &l->q_norm, q, position);
        /* summed in the thread's own memory: cache lines of `gathered` are shared */
        float *own = s->own + omp_get_thread_num() * own_size(model);
        attend(q, pass->keys[layer] + at, pass->values[layer] + at, position + 1, width, own + width, own);
        memcpy(s->gathered + n * model->embed_dim + h * width, own, sizeof(float) * width);
    }
}

static void through_layers(const Model *model, const Pass *pass, const Scratch *s, float *out) {
    int64_t number = pass->number;
#pragma omp for schedule(static)
    for (int64_t n = 0; n < number; n++)
        embed(model, pass->tokens[n], pass->positions[n], s->x + n * model->embed_dim);
    for (int64_t layer = 0; layer < model->num_layers; layer++) {
        const Layer *l = &model->layers[layer];
        normalise_all(&l->attention_norm, s->x, s->normed, number, model);
        product(&l->qkv, number, s->normed, s->qkv, STORE);
#pragma omp barrier
        attention(model, layer, pass, s);
        product(&l->out, number, s->gathered, s->x, ADD);
#pragma omp barrier
        normalise_all(&l->feed_forward_norm, s->x, s->normed, number, model);
        if (l->gate.panels)
            product(&l->gate, number, s->normed, s->hidden, SILU);
        product(&l->up, number, s->normed, s->hidden, l->gate.panels ? TIMES : GELU);
#pragma omp barrier
        product(&l->down, number, s->hidden, s->x, ADD);
#pragma omp barrier
    }
    normalise_all(&model->final_norm, s->x, out, number, model);
}

/* Final hidden states, out [number, embed_dim]; returns 0, or -1 if memory cannot be allocated. */
int hidden_states(const Model *model, const Pass *pass, float *out, int64_t threads) {
    int64_t width = model->embed_dim;
    int64_t heads = (model->num_heads + 2 * model->num_kv_heads) * model->head_dim;
    int64_t each = 3 * width + heads + model->ff_hidden_dim;
    float *held = malloc(sizeof(float) * (pass->number * each + threads * own_size(model)));
    if (!held)
        return -1;
    Scratch s = {.x = held};
    s.normed = s.x + pass->number * width;
    s.gathered = s.normed + pass->number * width;
    s.qkv = s.gathered + pass->number * width;
    s.hidden = s.qkv + pass->number * heads;
    s.own = s.hidden + pass->number * model->ff_hidden_dim;
#pragma omp parallel num_threads(threads)
    through_layers(model, pass, &s, out);
    free(held);
    return 0;
}

/* Logits [number, vocabulary] of hidden_states [number, embed_dim]. */
void head(const Model *model, const float *x, int64_t number, float *logits, int64_t threads) {
#pragma omp parallel num_threads(threads)
    product(&model->token, number, x, logits, STORE);
}

/* The `number` largest logits of each row [rows, size], descending: values and ids [rows, number]. */
void topk(const float *logits, int64_t rows, int64_t size, int64_t number, float *values,
              int64_t *ids, int64_t threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t r = 0; r < rows; r++)
        topk_of(logits + r * size, size, (Heap){values + r * number, ids + r * number, number});
}
