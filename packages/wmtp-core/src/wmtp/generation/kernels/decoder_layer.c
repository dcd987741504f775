/* One decoder layer over a few rows: norm, attention over a ragged cache or a gated delta rule, norm, gated product or experts. What
   torch does in some forty steps is one call here, so that a few rows are decoded at the speed at which weights are read.

   A row is summed in the same order whatever stands beside it, and however many threads there are. */

#include "feeding.c"

INLINE void layer(const int bytes, const struct wmtp_layer *l, const struct wmtp_step *s, struct rooms *r)
{
    const ptrdiff_t rows = s->slots * s->width, hidden = l->hidden;
    const char *x = s->x;
    struct product first[PROJECTIONS];
    const int count = projections(l, first);
    ptrdiff_t tiles = 0;
    for (int i = 0; i < count; i++)
        tiles += first[i].outs / TALL;
#pragma omp for schedule(static)
    for (ptrdiff_t row = 0; row < rows; row++) {
        normed(x + row * hidden * bytes, l->norm1, r->n + row * hidden * bytes, hidden, l->eps, l->from_one, bytes);
        if (l->q)
            bounded(
                (const char *)s->mask + (row / s->width * s->mask_slot + row % s->width * s->mask_row) * bytes, s->length,
                r->bounds + 2 * row, bytes);
    }
#pragma omp for schedule(static)
    for (ptrdiff_t t = 0; t < tiles; t++) {
        ptrdiff_t of = t;
        int i = 0;
        for (; of >= first[i].outs / TALL; i++)
            of -= first[i].outs / TALL;
        const struct product p = first[i];
        part(bytes, r->n, p.w, p.bias, r->projected[i], rows, hidden, p.outs, of, p.outs / TALL);
    }
    if (l->q)
        attention(bytes, l, s, r);
    else
        delta_rule(bytes, l, s, r);
    joined(l, r->a, l->o, l->o_bias, l->mixed_norm, x, r->m, rows, mixed_width(l), bytes);
#pragma omp for schedule(static)
    for (ptrdiff_t row = 0; row < rows; row++)
        normed(r->m + row * hidden * bytes, l->norm2, r->n + row * hidden * bytes, hidden, l->eps, l->from_one, bytes);
    if (l->router) {
        experts(bytes, l, r, rows, s->y);
        return;
    }
#pragma omp for schedule(static)
    for (ptrdiff_t group = 0; group < l->inner / GROUP; group++)
        gated_group(l, r->n, l->gate, l->up, r->g, r->u, rows, l->inner, group, bytes);
    joined(l, r->g, l->down, 0, l->fed_norm, r->m, s->y, rows, l->inner, bytes);
}

/* One for each type, in which `bytes` is known. */
static __attribute__((noinline)) void layer_of_floats(const struct wmtp_layer *l, const struct wmtp_step *s, struct rooms *r)
{
    layer(4, l, s, r);
}

static __attribute__((noinline)) void layer_of_halves(const struct wmtp_layer *l, const struct wmtp_step *s, struct rooms *r)
{
    layer(2, l, s, r);
}

/* Bytes of scratch that a step takes. */
ptrdiff_t wmtp_layer_scratch(const struct wmtp_layer *l, const struct wmtp_step *s)
{
    struct rooms r;
    return laid_out(l, s, 0, &r);
}

void wmtp_decoder_layer(const struct wmtp_layer *l, const struct wmtp_step *s)
{
    struct rooms r;
    laid_out(l, s, s->scratch, &r);
#pragma omp parallel num_threads(s->threads)
    {
        if (l->bytes == 4)
            layer_of_floats(l, s, &r);
        else
            layer_of_halves(l, s, &r);
    }
}
