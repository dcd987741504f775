/* Attention of a few rows over a ragged cache, whose mask is read as it stands. */

#include "layer_records.c"

/* The positions that a row's mask shows: from the first to one behind the last. */
INLINE void bounded(const char *mask, ptrdiff_t length, ptrdiff_t *bounds, const int bytes)
{
    ptrdiff_t from = 0, to = length;
    while (from < length && get(mask, from, bytes) == -INFINITY)
        from++;
    while (to > from && get(mask, to - 1, bytes) == -INFINITY)
        to--;
    bounds[0] = from;
    bounds[1] = to;
}

INLINE void mixed_values(
    const int count, const float *weights, const char *values, ptrdiff_t positions, ptrdiff_t dim, float total, char *out,
    const int bytes)
{
    eight sums[8];
    for (int i = 0; i < count; i++)
        sums[i] = all(0.0f);
    for (ptrdiff_t p = 0; p < positions; p++)
        for (int i = 0; i < count; i++)
            sums[i] += weights[p] * eight_of(values, p * dim + i * EIGHT, bytes);
    for (int i = 0; i < count; i++)
        put_eight(out, i * EIGHT, sums[i] / total, bytes);
}

/* One head of one row: scores over the positions it sees, their exponentials, the weighted sum of values. */
INLINE void attended(
    const char *q, const char *keys, const char *values, const char *mask, const ptrdiff_t *bounds, char *out, float *scores,
    ptrdiff_t dim, float scale, float cap, const int bytes)
{
    const ptrdiff_t from = bounds[0], count = bounds[1] - from, whole = (count + EIGHT - 1) / EIGHT * EIGHT;
    for (ptrdiff_t p = 0; p < count; p += 4) {
        const char *at[4];
        eight sums[4];
        for (int j = 0; j < 4; j++) {
            at[j] = keys + (from + (p + j < count ? p + j : count - 1)) * dim * bytes;
            sums[j] = all(0.0f);
        }
        for (ptrdiff_t i = 0; i < dim; i += EIGHT) {
            const eight part = eight_of(q, i, bytes);
            for (int j = 0; j < 4; j++)
                sums[j] += part * eight_of(at[j], i, bytes);
        }
        *(four *)(scores + p) = four_sums(sums[0], sums[1], sums[2], sums[3]) * scale;
    }
    if (cap > 0)
        for (ptrdiff_t p = 0; p < whole; p += EIGHT)
            *(eight *)(scores + p) = cap * tangent(*(eight *)(scores + p) / cap);
    for (ptrdiff_t p = 0; p < count; p++)
        scores[p] += get(mask, from + p, bytes);
    for (ptrdiff_t p = count; p < whole; p++)
        scores[p] = -INFINITY;
    eight most = all(-INFINITY), total = all(0.0f);
    for (ptrdiff_t p = 0; p < whole; p += EIGHT)
        most = chosen(*(eight *)(scores + p) > most, *(eight *)(scores + p), most);
    const float largest = most_of(most);
    for (ptrdiff_t p = 0; p < whole; p += EIGHT)
        total += *(eight *)(scores + p) = powers(*(eight *)(scores + p) - largest);
    const float sum = sum_of(total);
    ptrdiff_t i = 0;
    for (; i + 8 * EIGHT <= dim; i += 8 * EIGHT)
        mixed_values(8, scores, values + (from * dim + i) * bytes, count, dim, sum, out + i * bytes, bytes);
    for (; i + 4 * EIGHT <= dim; i += 4 * EIGHT)
        mixed_values(4, scores, values + (from * dim + i) * bytes, count, dim, sum, out + i * bytes, bytes);
    for (; i < dim; i += EIGHT)
        mixed_values(1, scores, values + (from * dim + i) * bytes, count, dim, sum, out + i * bytes, bytes);
}

/* A head of a row's queries or keys, normed and turned; keys and values go into the cache. */
INLINE void placed(
    const struct wmtp_layer *l, const struct wmtp_step *s, const struct rooms *r, ptrdiff_t row, ptrdiff_t h, const int bytes)
{
    const ptrdiff_t dim = l->dim, kv_outs = l->kv_heads * dim, q_head = dim * (1 + l->gated), kv = h - l->heads;
    const ptrdiff_t turn = (s->rotary_rows == 1 ? row % s->width : row) * s->turned_dim * bytes;
    char *head = kv >= 0 ? r->projected[1] + (row * kv_outs + kv * dim) * bytes
                         : r->projected[0] + (row * l->heads + h) * q_head * bytes;
    const void *weight = kv >= 0 ? l->k_norm : l->q_norm;
    if (weight)
        normed(head, weight, head, dim, l->head_eps, l->from_one, bytes);
    turned(head, (const char *)s->cos + turn, (const char *)s->sin + turn, s->turned_dim, bytes);
    if (kv < 0)
        return;
    const ptrdiff_t place = ((row / s->width * l->kv_heads + kv) * s->capacity + s->positions[row]) * dim * bytes;
    __builtin_memcpy((char *)s->keys + place, head, dim * bytes);
    __builtin_memcpy((char *)s->values + place, r->projected[2] + (row * kv_outs + kv * dim) * bytes, dim * bytes);
}

INLINE void attention(const int bytes, const struct wmtp_layer *l, const struct wmtp_step *s, const struct rooms *r)
{
    const ptrdiff_t rows = s->slots * s->width, dim = l->dim, all_heads = l->heads + l->kv_heads;
    const ptrdiff_t q_head = dim * (1 + l->gated), shared = l->heads / l->kv_heads;
    float *scores = r->scores + omp_get_thread_num() * (s->capacity + EIGHT);
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < rows * all_heads; i++)
        placed(l, s, r, i / all_heads, i % all_heads, bytes);
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < rows * l->heads; i++) {
        const ptrdiff_t row = i / l->heads, h = i % l->heads, slot = row / s->width;
        const ptrdiff_t kv = (slot * l->kv_heads + h / shared) * s->capacity * dim * bytes;
        const char *mask = (const char *)s->mask + (slot * s->mask_slot + row % s->width * s->mask_row) * bytes;
        const char *q = r->projected[0] + i * q_head * bytes;
        char *out = r->a + i * dim * bytes;
        attended(
            q, (const char *)s->keys + kv, (const char *)s->values + kv, mask, r->bounds + 2 * row, out, scores, dim, l->scale,
            l->cap, bytes);
        for (ptrdiff_t d = 0; l->gated && d < dim; d += EIGHT)
            put_eight(out, d, eight_of(out, d, bytes) * kept_eight(sigmoid(eight_of(q, dim + d, bytes)), bytes), bytes);
    }
}
