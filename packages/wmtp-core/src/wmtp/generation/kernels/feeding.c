/* The second half of a layer: a gated product, or several experts of which each row takes some, beside one that all share. */

#include "delta_rule.c"

/* Columns [group * GROUP, …) of a gated product: g = activation(x gateᵀ) · x upᵀ; u: room. */
INLINE void gated_columns(
    const struct wmtp_layer *l, const char *x, const char *gate, const char *up, char *g, char *u, ptrdiff_t rows, ptrdiff_t inner,
    ptrdiff_t group, const int bytes)
{
    const ptrdiff_t tiles = inner / TALL, first = group * GROUP;
    for (ptrdiff_t t = first / TALL; t < (first + GROUP) / TALL; t++) {
        part(bytes, x, gate, 0, g, rows, l->hidden, inner, t, tiles);
        part(bytes, x, up, 0, u, rows, l->hidden, inner, t, tiles);
    }
    for (ptrdiff_t row = 0; row < rows; row++)
        for (ptrdiff_t i = row * inner + first; i < row * inner + first + GROUP; i += EIGHT) {
            const eight value = eight_of(g, i, bytes), active = l->gelu ? gelu(value) : swish(value);
            put_eight(g, i, kept_eight(active, bytes) * eight_of(u, i, bytes), bytes);
        }
}

APART void gated_group(
    const struct wmtp_layer *l, const char *x, const char *gate, const char *up, char *g, char *u, ptrdiff_t rows, ptrdiff_t inner,
    ptrdiff_t group, const int bytes)
{
    if (bytes == 4)
        gated_columns(l, x, gate, up, g, u, rows, inner, group, 4);
    else
        gated_columns(l, x, gate, up, g, u, rows, inner, group, 2);
}

/* out = before + x wᵀ + bias, or before + norm(x wᵀ + bias). */
INLINE void joined(
    const struct wmtp_layer *l, const char *x, const void *w, const void *bias, const char *norm, const char *before, char *out,
    ptrdiff_t rows, ptrdiff_t width, const int bytes)
{
    const ptrdiff_t hidden = l->hidden;
#pragma omp for schedule(static)
    for (ptrdiff_t t = 0; t < hidden / TALL; t++) {
        part(bytes, x, w, bias, out, rows, width, hidden, t, hidden / TALL);
        for (ptrdiff_t row = 0; !norm && row < rows; row++)
            added(out, before, row * hidden + t * TALL, row * hidden + (t + 1) * TALL, bytes);
    }
    if (!norm)
        return;
#pragma omp for schedule(static)
    for (ptrdiff_t row = 0; row < rows; row++) {
        char *at = out + row * hidden * bytes;
        normed(at, norm, at, hidden, l->eps, l->from_one, bytes);
        added(out, before, row * hidden, (row + 1) * hidden, bytes);
    }
}

/* The experts of a row by their logits, the largest first, and its shares in them. */
INLINE void pick(const struct wmtp_layer *l, const char *logits, ptrdiff_t *picked, float *shares, const int bytes)
{
    float most = -INFINITY, total = 0.0f, sum = 0.0f;
    for (ptrdiff_t e = 0; e < l->experts; e++)
        most = get(logits, e, bytes) > most ? get(logits, e, bytes) : most;
    for (ptrdiff_t e = 0; e < l->experts; e++)
        total += expf(get(logits, e, bytes) - most);
    for (ptrdiff_t j = 0; j < l->each; j++) {
        ptrdiff_t best = -1;
        for (ptrdiff_t e = 0; e < l->experts; e++) {
            int taken_already = 0;
            for (ptrdiff_t i = 0; i < j; i++)
                taken_already |= picked[i] == e;
            if (!taken_already && (best < 0 || get(logits, e, bytes) > get(logits, best, bytes)))
                best = e;
        }
        picked[j] = best;
        shares[j] = expf(get(logits, best, bytes) - most) / total;
        sum += shares[j];
    }
    for (ptrdiff_t j = 0; j < l->each; j++)
        shares[j] = kept(l->shares_sum ? shares[j] / sum : shares[j], bytes);
}

/* Pairs of row and expert in the order of experts: `picked` becomes a pair's place, `sources` the row at a place. */
static void sorted(const struct wmtp_layer *l, struct rooms *r, ptrdiff_t rows)
{
    ptrdiff_t *starts = r->starts, at = 0;
    for (ptrdiff_t e = 0; e <= l->experts; e++)
        starts[e] = 0;
    for (ptrdiff_t i = 0; i < rows * l->each; i++)
        starts[r->picked[i]]++;
    r->hit = 0;
    for (ptrdiff_t e = 0; e <= l->experts; e++) {
        const ptrdiff_t count = starts[e];
        if (count)
            r->hits[r->hit++] = e;
        starts[e] = at;
        at += count;
    }
    for (ptrdiff_t i = 0; i < rows * l->each; i++) {
        const ptrdiff_t place = starts[r->picked[i]]++;
        r->sources[place] = i / l->each;
        r->picked[i] = place;
    }
    for (ptrdiff_t e = l->experts; e > 0; e--)
        starts[e] = starts[e - 1];
    starts[0] = 0;
}

/* A row's experts, added up with its shares, and the one that all share. */
INLINE void summed(
    const struct wmtp_layer *l, const struct rooms *r, ptrdiff_t row, const char *shared, const char *before, char *out,
    const int bytes)
{
    const ptrdiff_t hidden = l->hidden;
    eight dots = all(0.0f);
    for (ptrdiff_t i = 0; l->shared_gate && i < hidden; i += EIGHT)
        dots += eight_of(r->n, row * hidden + i, bytes) * eight_of(l->shared_gate, i, bytes);
    const eight open = kept_eight(sigmoid(all(kept(sum_of(dots), bytes))), bytes);
    for (ptrdiff_t i = 0; i < hidden; i += EIGHT) {
        eight sum = all(0.0f);
        for (ptrdiff_t j = 0; j < l->each; j++) {
            const ptrdiff_t pair = row * l->each + j;
            sum += kept_eight(eight_of(r->expert_out, r->picked[pair] * hidden + i, bytes) * r->shares[pair], bytes);
        }
        if (l->shared_gate)
            sum = kept_eight(sum, bytes) + kept_eight(open * eight_of(shared, row * hidden + i, bytes), bytes);
        sum = kept_eight(sum, bytes) + eight_of(before, row * hidden + i, bytes);
        put_eight(out, row * hidden + i, sum, bytes);
    }
}

INLINE void experts(const int bytes, const struct wmtp_layer *l, struct rooms *r, ptrdiff_t rows, char *out)
{
    const ptrdiff_t hidden = l->hidden, inner = l->expert_inner, groups = inner / GROUP, tiles = hidden / TALL;
    const ptrdiff_t shared = l->inner / GROUP, routes = l->experts / TALL;
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < shared + routes; i++)
        if (i < shared)
            gated_group(l, r->n, l->gate, l->up, r->g, r->u, rows, l->inner, i, bytes);
        else
            part(bytes, r->n, l->router, 0, r->router, rows, hidden, l->experts, i - shared, routes);
#pragma omp for schedule(static)
    for (ptrdiff_t row = 0; row < rows; row++)
        pick(l, r->router + row * l->experts * bytes, r->picked + row * l->each, r->shares + row * l->each, bytes);
#pragma omp single
    sorted(l, r, rows);
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < rows * l->each; i++)
        __builtin_memcpy(r->gathered + i * hidden * bytes, r->n + r->sources[i] * hidden * bytes, hidden * bytes);
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < r->hit * groups; i++) {
        const ptrdiff_t e = r->hits[i / groups], from = r->starts[e];
        const char *gate = (const char *)l->experts_in + e * 2 * inner * hidden * bytes;
        gated_group(
            l, r->gathered + from * hidden * bytes, gate, gate + inner * hidden * bytes, r->expert_g + from * inner * bytes,
            r->expert_u + from * inner * bytes, r->starts[e + 1] - from, inner, i % groups, bytes);
    }
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < (r->hit + (shared > 0)) * tiles; i++) {
        if (i >= r->hit * tiles) {
            part(bytes, r->g, l->down, 0, r->f, rows, l->inner, hidden, i % tiles, tiles);
            continue;
        }
        const ptrdiff_t e = r->hits[i / tiles], from = r->starts[e];
        part(
            bytes, r->expert_g + from * inner * bytes, (const char *)l->experts_out + e * hidden * inner * bytes, 0,
            r->expert_out + from * hidden * bytes, r->starts[e + 1] - from, inner, hidden, i % tiles, tiles);
    }
#pragma omp for schedule(static)
    for (ptrdiff_t row = 0; row < rows; row++)
        summed(l, r, row, r->f, r->m, out, bytes);
}
