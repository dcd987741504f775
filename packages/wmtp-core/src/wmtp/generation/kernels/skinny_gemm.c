/* y = x wᵀ + bias for a few rows of x, as fast as w can be read from memory once. All are float32, or all are bfloat16.

   Compiled by wmtp.generation.kernels.native, for the processor that runs it. A tile is four rows of w and up to four of x,
   whose products stay in registers; the rows of w that come next are asked for meanwhile. However many rows there are,
   every element of y is summed in the same order: what a row gives does not depend on its neighbours. */

#include <stddef.h>
#include <stdint.h>
#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define LANES 8
#else
#error "written and measured for AVX2 and AVX-512"
#endif
#define TALL 4
#define WIDE 4
#define INLINE static inline __attribute__((always_inline))
#define APART static __attribute__((noinline)) /* long, and called from many places: compiled once */

typedef float four __attribute__((vector_size(16), aligned(4), may_alias));
typedef float eight __attribute__((vector_size(32), aligned(4), may_alias));
typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

/* bytes: of an element. A bfloat16 is the upper half of a float32. */
INLINE lanes load(const char *at, const int bytes)
{
    if (bytes == 4)
        return *(const lanes *)at;
    return (lanes)(__builtin_convertvector(*(const halves *)at, words) << 16);
}

INLINE four four_of(const char *at, const int bytes)
{
    if (bytes == 4)
        return *(const four *)at;
    const uint16_t *half = (const uint16_t *)at;
    const union { uint32_t words[4]; four values; } a = {
        {(uint32_t)half[0] << 16, (uint32_t)half[1] << 16, (uint32_t)half[2] << 16, (uint32_t)half[3] << 16}};
    return a.values;
}

/* To the nearest, ties to even; what is not a number stays none. */
INLINE uint16_t rounded(float value)
{
    union { float value; uint32_t word; } a = {value};
    return value != value ? 0x7fc0 : (a.word + 0x7fff + (a.word >> 16 & 1)) >> 16;
}

/* Down to four partial sums, */
INLINE four folded(lanes v)
{
#if LANES == 16
    union { lanes all; eight half[2]; } a = {v};
    union { eight all; four half[2]; } b = {a.half[0] + a.half[1]};
    return b.half[0] + b.half[1];
#else
    union { eight all; four half[2]; } b = {v};
    return b.half[0] + b.half[1];
#endif
}

/* and those of four vectors to the four sums. */
INLINE four transposed_sums(four p, four q, four r, four s)
{
    const four pq = __builtin_shufflevector(p, q, 0, 4, 1, 5) + __builtin_shufflevector(p, q, 2, 6, 3, 7);
    const four rs = __builtin_shufflevector(r, s, 0, 4, 1, 5) + __builtin_shufflevector(r, s, 2, 6, 3, 7);
    return __builtin_shufflevector(pq, rs, 0, 1, 4, 5) + __builtin_shufflevector(pq, rs, 2, 3, 6, 7);
}

INLINE four sums_of(lanes a, lanes b, lanes c, lanes d)
{
    return transposed_sums(folded(a), folded(b), folded(c), folded(d));
}

/* ahead: how many bytes beyond each element of w the one lies that the next tile reads. */
INLINE void tile(
    const int bytes, const int rows, const char *x, const char *w, const four bias, char *y, ptrdiff_t width, ptrdiff_t outs,
    ptrdiff_t ahead)
{
    lanes sums[TALL][WIDE];
    for (int i = 0; i < TALL; i++)
        for (int r = 0; r < rows; r++)
            sums[i][r] = (lanes){0};
    ptrdiff_t k = 0;
#if defined(__AVX512BF16__)
    /* Two products a lane, without widening first: the shifts took longer than the reading. */
    for (; bytes == 2 && k < width; k += 2 * LANES) {
        const __mmask32 there = width - k < 2 * LANES ? 0xffff : ~(__mmask32)0;
        __m512bh part[WIDE];
        for (int r = 0; r < rows; r++)
            part[r] = (__m512bh)_mm512_maskz_loadu_epi16(there, x + (r * width + k) * bytes);
        for (int i = 0; i < TALL; i++) {
            const char *at = w + (i * width + k) * bytes;
            __builtin_prefetch(at + ahead, 0, 2);
            const __m512bh weight = (__m512bh)_mm512_maskz_loadu_epi16(there, at);
            for (int r = 0; r < rows; r++)
                sums[i][r] = (lanes)_mm512_dpbf16_ps((__m512)sums[i][r], weight, part[r]);
        }
    }
#endif
    for (; k < width; k += LANES) {
        lanes part[WIDE];
        for (int r = 0; r < rows; r++)
            part[r] = load(x + (r * width + k) * bytes, bytes);
        for (int i = 0; i < TALL; i++) {
            const char *at = w + (i * width + k) * bytes;
            __builtin_prefetch(at + ahead, 0, 2);
            const lanes weight = load(at, bytes);
            for (int r = 0; r < rows; r++)
                sums[i][r] += weight * part[r];
        }
    }
    for (int r = 0; r < rows; r++) {
        const four sum = sums_of(sums[0][r], sums[1][r], sums[2][r], sums[3][r]) + bias;
        if (bytes == 4)
            *(four *)(y + r * outs * bytes) = sum;
        else
            for (int i = 0; i < TALL; i++)
                ((uint16_t *)(y + r * outs * bytes))[i] = rounded(sum[i]);
    }
}

INLINE void product_tile(
    const int bytes, const char *x, const char *w, const char *bias, char *y, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t outs,
    ptrdiff_t t, ptrdiff_t tiles)
{
    const ptrdiff_t row = width * bytes, below = outs * bytes;
    const char *matrix = w + t * TALL * row;
    const ptrdiff_t ahead = t + 1 < tiles ? TALL * row : 0;
    const four added = bias ? four_of(bias + t * TALL * bytes, bytes) : (four){0};
    char *out = y + t * TALL * bytes;
    ptrdiff_t r = 0;
    for (; r + WIDE <= rows; r += WIDE)
        tile(bytes, WIDE, x + r * row, matrix, added, out + r * below, width, outs, ahead);
    switch (rows - r) {
    case 3: tile(bytes, 3, x + r * row, matrix, added, out + r * below, width, outs, ahead); break;
    case 2: tile(bytes, 2, x + r * row, matrix, added, out + r * below, width, outs, ahead); break;
    case 1: tile(bytes, 1, x + r * row, matrix, added, out + r * below, width, outs, ahead); break;
    }
}

/* Tile t of as many as there are, all rows. */
APART void part(
    const int bytes, const char *x, const char *w, const char *bias, char *y, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t outs,
    ptrdiff_t t, ptrdiff_t tiles)
{
    if (bytes == 4)
        product_tile(4, x, w, bias, y, rows, width, outs, t, tiles);
    else
        product_tile(2, x, w, bias, y, rows, width, outs, t, tiles);
}

/* Rows of x from which on a product that repacks w is as fast. */
const int wmtp_skinny_gemm_most = LANES;

/* x [rows, width], w [outs, width], bias [outs] or none, y [rows, outs], contiguous; width a multiple of 16, outs of 4. */
void wmtp_skinny_gemm(
    const void *x, const void *w, const void *bias, void *y, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t outs, int bytes,
    int threads)
{
    const ptrdiff_t tiles = outs / TALL;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (ptrdiff_t t = 0; t < tiles; t++)
        part(bytes, x, w, bias, y, rows, width, outs, t, tiles);
}
