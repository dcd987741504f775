/* What a row goes through between two products: norms, turns, activations. Weights and activations are float32, or bfloat16 and
   computed in float32, rounded where torch rounds them (bytes: of an element). A number comes out the same wherever it stands. */

#include "skinny_gemm.c"
#include <math.h>

#define EIGHT 8

typedef int32_t eight_ints __attribute__((vector_size(32)));
typedef uint32_t eight_words __attribute__((vector_size(32)));
typedef uint16_t eight_halves __attribute__((vector_size(16), aligned(2), may_alias));

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

INLINE eight all(float value)
{
    return (eight){value, value, value, value, value, value, value, value};
}

INLINE eight eight_of(const void *at, ptrdiff_t i, const int bytes)
{
    if (bytes == 4)
        return *(const eight *)((const float *)at + i);
    return (eight)(__builtin_convertvector(*(const eight_halves *)((const uint16_t *)at + i), eight_words) << 16);
}

/* `rounded`, of eight. */
INLINE eight_words narrowed(eight v)
{
    const eight_words word = (eight_words)v, none = (eight_words)(v != v);
    return (((word + 0x7fff + (word >> 16 & 1)) >> 16) & ~none) | (none & 0x7fc0);
}

INLINE void put_eight(void *at, ptrdiff_t i, eight v, const int bytes)
{
    if (bytes == 4)
        *(eight *)((float *)at + i) = v;
    else
        *(eight_halves *)((uint16_t *)at + i) = __builtin_convertvector(narrowed(v), eight_halves);
}

INLINE eight kept_eight(eight v, const int bytes)
{
    return bytes == 4 ? v : (eight)(narrowed(v) << 16);
}

INLINE eight chosen(eight_ints which, eight yes, eight no)
{
    return (eight)((which & (eight_ints)yes) | (~which & (eight_ints)no));
}

INLINE float sum_of(eight v)
{
    const union { eight all; four half[2]; } a = {v};
    const four s = a.half[0] + a.half[1];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* Four such sums at once. */
INLINE four four_sums(eight a, eight b, eight c, eight d)
{
    const union { eight all; four half[2]; } p = {a}, q = {b}, r = {c}, s = {d};
    return transposed_sums(p.half[0] + p.half[1], q.half[0] + q.half[1], r.half[0] + r.half[1], s.half[0] + s.half[1]);
}

INLINE float most_of(eight v)
{
    float most = v[0];
    for (int i = 1; i < EIGHT; i++)
        most = v[i] > most ? v[i] : most;
    return most;
}

/* e to the x for x ≤ 0, to a few units in the last place: by a polynomial between −ln 2 / 2 and ln 2 / 2. */
INLINE eight powers(eight x)
{
    const eight shift = all(12582912.0f); /* 1.5 · 2^23, whose neighbours are whole numbers */
    const eight n = (x * 1.44269504f + shift) - shift;
    const eight r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    eight p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const eight_ints scale = (__builtin_convertvector(n, eight_ints) + 127) << 23;
    return chosen(x < -87.0f, all(0.0f), p * (eight)scale);
}

INLINE eight absolute(eight v)
{
    return (eight)((eight_words)v & 0x7fffffff);
}

INLINE eight sigmoid(eight v)
{
    const eight small = powers(-absolute(v));
    return chosen(v < 0.0f, small, all(1.0f)) / (1.0f + small);
}

INLINE eight swish(eight v)
{
    return v * sigmoid(v);
}

INLINE eight tangent(eight v)
{
    const eight small = powers(-2.0f * absolute(v)), found = (1.0f - small) / (1.0f + small);
    return chosen(v < 0.0f, -found, found);
}

INLINE eight gelu(eight v)
{
    return 0.5f * v * (1.0f + tangent(0.7978845608f * (v + 0.044715f * v * v * v)));
}

/* x [width] → y, by its root mean square. from_one: the weight counts from 1 and is multiplied before the number is rounded. */
INLINE void normed_row(
    const char *x, const char *weight, char *y, ptrdiff_t width, float eps, int from_one, const int bytes)
{
    eight squares = {0};
    for (ptrdiff_t i = 0; i < width; i += EIGHT) {
        const eight v = eight_of(x, i, bytes);
        squares += v * v;
    }
    const float scale = 1.0f / __builtin_sqrtf(sum_of(squares) / (float)width + eps);
    if (from_one)
        for (ptrdiff_t i = 0; i < width; i += EIGHT)
            put_eight(y, i, eight_of(x, i, bytes) * scale * (1.0f + eight_of(weight, i, bytes)), bytes);
    else
        for (ptrdiff_t i = 0; i < width; i += EIGHT)
            put_eight(y, i, eight_of(weight, i, bytes) * kept_eight(eight_of(x, i, bytes) * scale, bytes), bytes);
}

APART void normed(const char *x, const char *weight, char *y, ptrdiff_t width, float eps, int from_one, const int bytes)
{
    if (bytes == 4)
        normed_row(x, weight, y, width, eps, from_one, 4);
    else
        normed_row(x, weight, y, width, eps, from_one, 2);
}

/* The first `dim` numbers of a head, turned by its position. */
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

INLINE void added(char *sum, const char *to, ptrdiff_t from, ptrdiff_t end, const int bytes)
{
    for (ptrdiff_t i = from; i < end; i++)
        put(sum, i, get(to, i, bytes) + get(sum, i, bytes), bytes);
}
