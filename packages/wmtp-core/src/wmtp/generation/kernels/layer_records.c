/* What a decoder layer is, and what one call works on. */

#include "rows.c"
#include <omp.h>

#define MOST_DIM 256
#define GROUP (4 * TALL) /* columns of a product whose activations are computed together */
#define PROJECTIONS 4

/* Weights lie as torch keeps them; what a layer has not is none. Attention where there is a q, else a gated delta rule. */
struct wmtp_layer {
    const void *norm1, *mixed_norm, *norm2, *fed_norm; /* before and behind either half; those behind: or none */
    const void *q, *k, *v, *q_bias, *k_bias, *v_bias, *q_norm, *k_norm;
    const void *in, *in_gate, *betas, *decays, *conv, *dt_bias, *a_log, *head_norm; /* in_gate, decays: or in `in` and `betas` */
    const void *o, *o_bias;
    const void *gate, *up, *down;                                 /* where there is a router: of the expert that all rows share */
    const void *router, *experts_in, *experts_out, *shared_gate;
    ptrdiff_t hidden, inner, heads, kv_heads, dim;
    ptrdiff_t value_heads, key_heads, value_dim, key_dim, taps;   /* of the delta rule and its convolution */
    ptrdiff_t experts, each, expert_inner;                        /* each: experts of a row */
    float eps, head_eps, scale, cap;                              /* cap: of scores; 0: none */
    int bytes, from_one, gelu, gated, shares_sum;                 /* gated: q brings gates; shares_sum: a row's shares add up to 1 */
};

/* x, y: [slots * width, hidden]. cos, sin: [rotary_rows: slots or 1, width, turned_dim: numbers of a head that
   positions turn]; mask: [slots, 1, width, length] by its strides;
   keys, values: [slots, kv_heads, capacity, dim]; positions: [slots * width]; states: float32 [slots, value_heads, key_dim,
   value_dim]; past: [slots, channels, taps]. A delta rule takes a width of 1. */
struct wmtp_step {
    const void *x, *cos, *sin, *mask;
    void *y, *keys, *values, *states, *past, *scratch;
    const int64_t *positions;
    ptrdiff_t slots, width, length, capacity, turned_dim, rotary_rows, mask_slot, mask_row;
    int threads;
};

/* Scratch of one call. */
struct rooms {
    float *scores, *shares;
    ptrdiff_t *bounds, *picked, *starts, *hits, *sources; /* see `bounded` and feeding.c */
    ptrdiff_t hit;
    char *n, *projected[PROJECTIONS], *a, *m, *f, *g, *u, *router, *gathered, *expert_g, *expert_u, *expert_out;
};

struct product {
    const void *w, *bias;
    ptrdiff_t outs;
};

/* The products that a layer's first half begins with. Returns how many. */
INLINE int projections(const struct wmtp_layer *l, struct product *found)
{
    if (l->q) {
        found[0] = (struct product){l->q, l->q_bias, l->heads * l->dim * (1 + l->gated)};
        found[1] = (struct product){l->k, l->k_bias, l->kv_heads * l->dim};
        found[2] = (struct product){l->v, l->v_bias, l->kv_heads * l->dim};
        return 3;
    }
    const ptrdiff_t keys = 2 * l->key_heads * l->key_dim, values = l->value_heads * l->value_dim;
    found[0] = (struct product){l->in, 0, keys + (l->in_gate ? 1 : 2) * values};
    found[1] = (struct product){l->betas, 0, (l->decays ? 1 : 2) * l->value_heads};
    found[2] = (struct product){l->decays, 0, l->value_heads};
    found[3] = (struct product){l->in_gate, 0, values};
    return l->in_gate ? 4 : 2;
}

INLINE ptrdiff_t mixed_width(const struct wmtp_layer *l)
{
    return l->q ? l->heads * l->dim : l->value_heads * l->value_dim;
}

INLINE void *taken(char **at, ptrdiff_t count, ptrdiff_t size)
{
    char *found = *at;
    *at += (count * size + 63) / 64 * 64;
    return found;
}

/* Lays the rooms out from `base` on. Returns how many bytes they take. */
static ptrdiff_t laid_out(const struct wmtp_layer *l, const struct wmtp_step *s, char *base, struct rooms *r)
{
    const ptrdiff_t rows = s->slots * s->width, bytes = l->bytes, pairs = rows * l->each;
    struct product first[PROJECTIONS];
    const int count = projections(l, first);
    char *at = base;
    r->scores = taken(&at, l->q ? s->threads * (s->capacity + EIGHT) : 0, sizeof(float));
    r->bounds = taken(&at, l->q ? 2 * rows : 0, sizeof(ptrdiff_t));
    r->n = taken(&at, rows * l->hidden, bytes);
    for (int i = 0; i < count; i++)
        r->projected[i] = taken(&at, rows * first[i].outs, bytes);
    r->a = taken(&at, rows * mixed_width(l), bytes);
    r->m = taken(&at, rows * l->hidden, bytes);
    r->f = taken(&at, rows * l->hidden, bytes);
    r->g = taken(&at, rows * l->inner, bytes);
    r->u = taken(&at, rows * l->inner, bytes);
    if (l->router) {
        r->router = taken(&at, rows * l->experts, bytes);
        r->shares = taken(&at, pairs, sizeof(float));
        r->picked = taken(&at, pairs, sizeof(ptrdiff_t));
        r->sources = taken(&at, pairs, sizeof(ptrdiff_t));
        r->starts = taken(&at, l->experts + 1, sizeof(ptrdiff_t));
        r->hits = taken(&at, l->experts, sizeof(ptrdiff_t));
        r->gathered = taken(&at, pairs * l->hidden, bytes);
        r->expert_g = taken(&at, pairs * l->expert_inner, bytes);
        r->expert_u = taken(&at, pairs * l->expert_inner, bytes);
        r->expert_out = taken(&at, pairs * l->hidden, bytes);
    }
    return at - base;
}
