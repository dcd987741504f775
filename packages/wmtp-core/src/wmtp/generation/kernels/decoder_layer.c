/* One decoder layer of Llama's shape over a few rows: norm, attention over a ragged cache, norm, gated product. What torch does in
   some forty steps is one call here, so that a single row is decoded at the speed at which weights are read.

   All weights and activations are float32, or all are bfloat16 and computed in float32, rounded where torch rounds them. A row is
   summed in the same order whatever stands beside it, and however many threads there are. */

#include "skinny_gemm.c"
#include <math.h>
#include <omp.h>

#define EIGHT 8
#define MOST_DIM 256

typedef int32_t eight_ints __attribute__((vector_size(32)));

struct wmtp_layer {
    const void *norm1, *q, *k, *v, *o, *norm2, *gate, *up, *down;
    const void *q_bias, *k_bias, *v_bias, *o_bias, *q_norm, *k_norm; /* or none */
    ptrdiff_t hidden, inner, heads, kv_heads, dim;
    float eps, head_eps, scale;
    int bytes;
};

/* What one call works on. x, y: [slots * width, hidden]. cos, sin: [slots or 1, width, dim]; mask: [slots, 1, width, length] by its
   strides; keys, values: [slots, kv_heads, capacity, dim]; positions: [slots * width]. */
struct wmtp_step {
    const void *x, *cos, *sin, *mask;
    void *y, *keys, *values, *scratch;
    const int64_t *positions;
    ptrdiff_t slots, width, length, capacity, rotary_rows, mask_slot, mask_row;
    int threads;
};

INLINE float get(const void *at, ptrdiff_t i, const int bytes)
{
    if (bytes == 4)
        return ((const float *)at)[i];
    const union { uint32_t word; float value; } a = {(uint32_t)((const uint16_t *)at)[i] << 16};
    return a.value;
}

INLINE void put(void *at, ptrdiff_t i, float value, const int bytes)
{
    if (bytes == 4)
        ((float *)at)[i] = value;
    else
        ((uint16_t *)at)[i] = rounded(value);
}

/* As it reads after it was written. */
INLINE float kept(float value, const int bytes)
{
    if (bytes == 4)
        return value;
    const union { uint32_t word; float value; } a = {(uint32_t)rounded(value) << 16};
    return a.value;
}

INLINE eight eight_of(const char *at, ptrdiff_t i, const int bytes)
{
    if (bytes == 4)
        return *(const eight *)((const float *)at + i);
    typedef uint16_t eight_halves __attribute__((vector_size(16), aligned(2), may_alias));
    typedef uint32_t eight_words __attribute__((vector_size(32)));
    return (eight)(__builtin_convertvector(*(const eight_halves *)((const uint16_t *)at + i), eight_words) << 16);
}

INLINE float sum_of(eight v)
{
    const union { eight all; four half[2]; } a = {v};
    const four s = a.half[0] + a.half[1];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* e to the x for x ≤ 0, to a few units in the last place: by a polynomial between −ln 2 / 2 and ln 2 / 2. */
INLINE float power(float x)
{
    if (x < -87.0f)
        return 0.0f;
    const float n = __builtin_rintf(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const union { int32_t word; float value; } scale = {((int32_t)n + 127) << 23};
    return p * scale.value;
}

INLINE void normed(const char *x, const char *weight, char *y, ptrdiff_t width, float eps, const int bytes)
{
    eight squares = {0};
    for (ptrdiff_t i = 0; i < width; i += EIGHT) {
        const eight v = eight_of(x, i, bytes);
        squares += v * v;
    }
    const float scale = 1.0f / __builtin_sqrtf(sum_of(squares) / (float)width + eps);
    for (ptrdiff_t i = 0; i < width; i++)
        put(y, i, get(weight, i, bytes) * kept(get(x, i, bytes) * scale, bytes), bytes);
}

INLINE void turned(char *x, const char *cos, const char *sin, ptrdiff_t dim, const int bytes)
{
    const ptrdiff_t half = dim / 2;
    for (ptrdiff_t i = 0; i < half; i++) {
        const float a = get(x, i, bytes), b = get(x, i + half, bytes);
        const float first = kept(a * get(cos, i, bytes), bytes) + kept(-b * get(sin, i, bytes), bytes);
        const float second = kept(b * get(cos, i + half, bytes), bytes) + kept(a * get(sin, i + half, bytes), bytes);
        put(x, i, first, bytes);
        put(x, i + half, second, bytes);
    }
}

/* One head of one row: scores over the positions that its mask shows, their exponentials, the weighted sum of values. */
INLINE void attended(
    const char *q, const char *keys, const char *values, const char *mask, char *out, float *scores, ptrdiff_t length,
    ptrdiff_t dim, float scale, const int bytes)
{
    float most = -INFINITY, total = 0.0f;
    ptrdiff_t from = length, to = 0;
    for (ptrdiff_t p = 0; p < length; p++) {
        const float hidden = get(mask, p, bytes);
        scores[p] = -INFINITY;
        if (hidden == -INFINITY)
            continue;
        eight sums = {0};
        for (ptrdiff_t i = 0; i < dim; i += EIGHT)
            sums += eight_of(q, i, bytes) * eight_of(keys, p * dim + i, bytes);
        scores[p] = sum_of(sums) * scale + hidden;
        most = scores[p] > most ? scores[p] : most;
        from = p < from ? p : from;
        to = p + 1;
    }
    eight sums[MOST_DIM / EIGHT];
    for (ptrdiff_t i = 0; i < dim / EIGHT; i++)
        sums[i] = (eight){0};
    for (ptrdiff_t p = from; p < to; p++)
        scores[p] = power(scores[p] - most);
    for (ptrdiff_t p = from; p < to; p++) {
        total += scores[p];
        for (ptrdiff_t i = 0; i < dim / EIGHT; i++)
            sums[i] += scores[p] * eight_of(values, p * dim + i * EIGHT, bytes);
    }
    for (ptrdiff_t i = 0; i < dim; i++)
        put(out, i, sums[i / EIGHT][i % EIGHT] / total, bytes);
}

INLINE void layer(const int bytes, const struct wmtp_layer *l, const struct wmtp_step *s)
{
    const ptrdiff_t rows = s->slots * s->width, hidden = l->hidden, dim = l->dim, inner = l->inner;
    const ptrdiff_t q_outs = l->heads * dim, kv_outs = l->kv_heads * dim, shared = l->heads / l->kv_heads;
    const ptrdiff_t q_tiles = q_outs / TALL, kv_tiles = kv_outs / TALL, attended_heads = rows * l->heads;
    float *scores = s->scratch;
    char *at = (char *)(scores + s->threads * s->capacity);
    char *n = at, *q = n + rows * hidden * bytes, *k = q + rows * q_outs * bytes, *v = k + rows * kv_outs * bytes;
    char *a = v + rows * kv_outs * bytes, *m = a + rows * q_outs * bytes, *g = m + rows * hidden * bytes;
    char *u = g + rows * inner * bytes;
    const char *x = s->x;
    char *y = s->y;
#pragma omp parallel num_threads(s->threads)
    {
#pragma omp for schedule(static)
        for (ptrdiff_t r = 0; r < rows; r++)
            normed(x + r * hidden * bytes, l->norm1, n + r * hidden * bytes, hidden, l->eps, bytes);
#pragma omp for schedule(static)
        for (ptrdiff_t t = 0; t < q_tiles + 2 * kv_tiles; t++) {
            if (t < q_tiles)
                part(bytes, n, l->q, l->q_bias, q, rows, hidden, q_outs, t, q_tiles);
            else if (t < q_tiles + kv_tiles)
                part(bytes, n, l->k, l->k_bias, k, rows, hidden, kv_outs, t - q_tiles, kv_tiles);
            else
                part(bytes, n, l->v, l->v_bias, v, rows, hidden, kv_outs, t - q_tiles - kv_tiles, kv_tiles);
        }
#pragma omp for schedule(static)
        for (ptrdiff_t i = 0; i < rows * (l->heads + l->kv_heads); i++) {
            const ptrdiff_t r = i / (l->heads + l->kv_heads), h = i % (l->heads + l->kv_heads), slot = r / s->width;
            const ptrdiff_t turn = (s->rotary_rows == 1 ? r % s->width : r) * dim * bytes;
            const int is_key = h >= l->heads;
            char *head = is_key ? k + (r * kv_outs + (h - l->heads) * dim) * bytes : q + (r * q_outs + h * dim) * bytes;
            const void *weight = is_key ? l->k_norm : l->q_norm;
            if (weight)
                normed(head, weight, head, dim, l->head_eps, bytes);
            turned(head, (const char *)s->cos + turn, (const char *)s->sin + turn, dim, bytes);
            if (is_key) {
                const ptrdiff_t kv = h - l->heads;
                const ptrdiff_t place = ((slot * l->kv_heads + kv) * s->capacity + s->positions[r]) * dim * bytes;
                __builtin_memcpy((char *)s->keys + place, head, dim * bytes);
                __builtin_memcpy((char *)s->values + place, v + (r * kv_outs + kv * dim) * bytes, dim * bytes);
            }
        }
#pragma omp for schedule(static)
        for (ptrdiff_t i = 0; i < attended_heads; i++) {
            const ptrdiff_t r = i / l->heads, h = i % l->heads, slot = r / s->width;
            const ptrdiff_t kv = (slot * l->kv_heads + h / shared) * s->capacity * dim * bytes;
            attended(
                q + (r * q_outs + h * dim) * bytes, (const char *)s->keys + kv, (const char *)s->values + kv,
                (const char *)s->mask + (slot * s->mask_slot + r % s->width * s->mask_row) * bytes,
                a + (r * q_outs + h * dim) * bytes, scores + omp_get_thread_num() * s->capacity, s->length, dim, l->scale, bytes);
        }
#pragma omp for schedule(static)
        for (ptrdiff_t t = 0; t < hidden / TALL; t++) {
            part(bytes, a, l->o, l->o_bias, m, rows, q_outs, hidden, t, hidden / TALL);
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t i = r * hidden + t * TALL; i < r * hidden + (t + 1) * TALL; i++)
                    put(m, i, get(x, i, bytes) + get(m, i, bytes), bytes);
        }
#pragma omp for schedule(static)
        for (ptrdiff_t r = 0; r < rows; r++)
            normed(m + r * hidden * bytes, l->norm2, n + r * hidden * bytes, hidden, l->eps, bytes);
#pragma omp for schedule(static)
        for (ptrdiff_t t = 0; t < inner / TALL; t++) {
            part(bytes, n, l->gate, 0, g, rows, hidden, inner, t, inner / TALL);
            part(bytes, n, l->up, 0, u, rows, hidden, inner, t, inner / TALL);
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t i = r * inner + t * TALL; i < r * inner + (t + 1) * TALL; i++) {
                    const float value = get(g, i, bytes), small = power(value < 0 ? value : -value);
                    const float swish = value < 0 ? value * small / (1.0f + small) : value / (1.0f + small);
                    put(g, i, kept(swish, bytes) * get(u, i, bytes), bytes);
                }
        }
#pragma omp for schedule(static)
        for (ptrdiff_t t = 0; t < hidden / TALL; t++) {
            part(bytes, g, l->down, 0, y, rows, inner, hidden, t, hidden / TALL);
            for (ptrdiff_t r = 0; r < rows; r++)
                for (ptrdiff_t i = r * hidden + t * TALL; i < r * hidden + (t + 1) * TALL; i++)
                    put(y, i, get(m, i, bytes) + get(y, i, bytes), bytes);
        }
    }
}

/* Bytes of scratch that a step takes. */
ptrdiff_t wmtp_layer_scratch(const struct wmtp_layer *l, const struct wmtp_step *s)
{
    const ptrdiff_t row = 2 * l->hidden + 2 * l->heads * l->dim + 2 * l->kv_heads * l->dim + 2 * l->inner;
    return s->threads * s->capacity * (ptrdiff_t)sizeof(float) + s->slots * s->width * row * l->bytes;
}

void wmtp_decoder_layer(const struct wmtp_layer *l, const struct wmtp_step *s)
{
    if (l->bytes == 4)
        layer(4, l, s);
    else
        layer(2, l, s);
}
