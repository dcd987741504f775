/* One token of a gated delta rule for each row: its convolution, and its state of key_dim by value_dim a head, which fades, gives
   what it holds under the key, and takes in how far the value is from that. Computed in float32. */

#include "attention.c"

/* A channel's next number behind its last ones, which move on by one. */
INLINE float convolved(char *past, const char *weight, ptrdiff_t taps, float next, const int bytes)
{
    float sum = next * get(weight, taps - 1, bytes);
    for (ptrdiff_t i = 0; i + 1 < taps; i++) {
        const float value = get(past, i + 1, bytes);
        sum += value * get(weight, i, bytes);
        put(past, i, value, bytes);
    }
    put(past, taps - 1, next, bytes);
    return kept(sum, bytes);
}

/* `count` channels from `first` on → out. */
INLINE void convolved_channels(
    const struct wmtp_layer *l, char *past, const char *next, ptrdiff_t first, ptrdiff_t count, float *out, const int bytes)
{
    const char *weight = (const char *)l->conv;
    for (ptrdiff_t i = 0; i < count; i++) {
        const ptrdiff_t at = (first + i) * l->taps * bytes;
        out[i] = l->taps == 4 ? convolved(past + at, weight + at, 4, get(next, i, bytes), bytes)
                              : convolved(past + at, weight + at, l->taps, get(next, i, bytes), bytes);
    }
    for (ptrdiff_t i = 0; i < count; i += EIGHT)
        *(eight *)(out + i) = kept_eight(swish(*(eight *)(out + i)), bytes);
}

APART void channels(
    const struct wmtp_layer *l, char *past, const char *next, ptrdiff_t first, ptrdiff_t count, float *out, const int bytes)
{
    if (bytes == 4)
        convolved_channels(l, past, next, first, count, out, 4);
    else
        convolved_channels(l, past, next, first, count, out, 2);
}

INLINE void of_length_one(float *x, ptrdiff_t dim, float scale)
{
    eight squares = all(0.0f);
    for (ptrdiff_t i = 0; i < dim; i += EIGHT)
        squares += *(eight *)(x + i) * *(eight *)(x + i);
    const float by = scale / __builtin_sqrtf(sum_of(squares) + 1e-6f);
    for (ptrdiff_t i = 0; i < dim; i += EIGHT)
        *(eight *)(x + i) *= by;
}

/* Columns of a state, `count` times eight: x is the value, and becomes what the query finds. */
INLINE void recalled(
    const int count, float *state, const float *q, const float *k, float *x, float fading, float beta, ptrdiff_t key_dim,
    ptrdiff_t value_dim)
{
    eight held[8], found[8];
    for (int i = 0; i < count; i++)
        held[i] = found[i] = all(0.0f);
    for (ptrdiff_t j = 0; j < key_dim; j++)
        for (int i = 0; i < count; i++) {
            eight *at = (eight *)(state + j * value_dim + i * EIGHT);
            *at *= fading;
            held[i] += *at * k[j];
        }
    for (int i = 0; i < count; i++)
        held[i] = (*(eight *)(x + i * EIGHT) - held[i]) * beta;
    for (ptrdiff_t j = 0; j < key_dim; j++)
        for (int i = 0; i < count; i++) {
            eight *at = (eight *)(state + j * value_dim + i * EIGHT);
            *at += k[j] * held[i];
            found[i] += *at * q[j];
        }
    for (int i = 0; i < count; i++)
        *(eight *)(x + i * EIGHT) = found[i];
}

/* One head of values: x is its value, out what stands before the last product. */
INLINE void remembered(
    const struct wmtp_layer *l, float *state, const float *q, const float *k, float *x, const char *z, float beta, float fading,
    char *out, const int bytes)
{
    const ptrdiff_t dim = l->value_dim;
    ptrdiff_t i = 0;
    for (; i + 8 * EIGHT <= dim; i += 8 * EIGHT)
        recalled(8, state + i, q, k, x + i, fading, beta, l->key_dim, dim);
    for (; i + 4 * EIGHT <= dim; i += 4 * EIGHT)
        recalled(4, state + i, q, k, x + i, fading, beta, l->key_dim, dim);
    for (; i < dim; i += EIGHT)
        recalled(1, state + i, q, k, x + i, fading, beta, l->key_dim, dim);
    for (i = 0; i < dim; i += EIGHT)
        put_eight(out, i, *(eight *)(x + i), bytes);
    normed(out, l->head_norm, out, dim, l->head_eps, 0, bytes);
    for (i = 0; i < dim; i += EIGHT)
        put_eight(out, i, eight_of(out, i, bytes) * swish(eight_of(z, i, bytes)), bytes);
}

/* A head of keys of one row, with the heads of values that share it. */
INLINE void delta_head(
    const struct wmtp_layer *l, const struct wmtp_step *s, const struct rooms *r, ptrdiff_t row, ptrdiff_t h, const int bytes)
{
    const ptrdiff_t dim = l->key_dim, shared = l->value_heads / l->key_heads, wide = shared * l->value_dim;
    const ptrdiff_t keys = l->key_heads * dim, values = l->key_heads * wide, whole = 2 * keys + values;
    const char *q, *k, *v, *z, *beta, *decay;
    if (l->in_gate) {
        q = r->projected[0] + (row * whole + h * dim) * bytes;
        k = q + keys * bytes;
        v = r->projected[0] + (row * whole + 2 * keys + h * wide) * bytes;
        z = r->projected[3] + (row * values + h * wide) * bytes;
        beta = r->projected[1] + (row * l->value_heads + h * shared) * bytes;
        decay = r->projected[2] + (row * l->value_heads + h * shared) * bytes;
    } else { /* what belongs to a head lies together */
        q = r->projected[0] + (row * (whole + values) + h * 2 * (dim + wide)) * bytes;
        k = q + dim * bytes;
        v = k + dim * bytes;
        z = v + wide * bytes;
        beta = r->projected[1] + (row * l->key_heads + h) * 2 * shared * bytes;
        decay = beta + shared * bytes;
    }
    char *past = (char *)s->past + row * whole * l->taps * bytes;
    float query[MOST_DIM], key[MOST_DIM], value[MOST_DIM];
    channels(l, past, q, h * dim, dim, query, bytes);
    channels(l, past, k, keys + h * dim, dim, key, bytes);
    of_length_one(query, dim, 1.0f / __builtin_sqrtf((float)dim));
    of_length_one(key, dim, 1.0f);
    for (ptrdiff_t i = 0; i < shared; i++) {
        const ptrdiff_t head = h * shared + i;
        const float open = get(decay, i, bytes) + get(l->dt_bias, head, bytes);
        const float grown = open > 20.0f ? open : log1pf(expf(open));
        const float fading = expf(-expf(get(l->a_log, head, bytes)) * grown);
        const float part = kept(1.0f / (1.0f + expf(-get(beta, i, bytes))), bytes);
        channels(l, past, v + i * l->value_dim * bytes, 2 * keys + head * l->value_dim, l->value_dim, value, bytes);
        remembered(
            l, (float *)s->states + (row * l->value_heads + head) * dim * l->value_dim, query, key, value,
            z + i * l->value_dim * bytes, part, fading, r->a + (row * values + head * l->value_dim) * bytes, bytes);
    }
}

INLINE void delta_rule(const int bytes, const struct wmtp_layer *l, const struct wmtp_step *s, const struct rooms *r)
{
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < s->slots * l->key_heads; i++)
        delta_head(l, s, r, i / l->key_heads, i % l->key_heads, bytes);
}
