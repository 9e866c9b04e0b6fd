/// 16 registers of 8 lanes, 10 of them for sums: lanes 0–7 and 8–15 are separate passes, and so are classes 0–4 and 5–9.
/// Blockings were chosen by measurement; so was converting pixels twice on AMD (Zen 4).
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#define VARIANT descent_kernel_avx2
#define WIDTH 8
#define FORWARD_IMAGES 2
#define FORWARD_CLASSES 5
#define BACKWARD_VECTORS 2
#define BACKWARD_CLASSES 5
#define DENSE_ROWS 6
#define DENSE_VECTORS 2
#define SPARSE_VECTORS 12
#define GATHERED GROUP
#define CONVERTS_BESIDE_FMA __builtin_cpu_is("amd")
#define ROUND_TO_INT32(x) ((vector_int)_mm256_cvtps_epi32((__m256)(x)))
#define ROUNDING_MARKS_OVERFLOWS
#define ABSOLUTE_DIFFERENCES(a, b) ((vector_words)_mm256_sad_epu8((__m256i)(a), (__m256i)(b)))
#define PRODUCTS_OF_PAIRS(a, b) ((vector_words)_mm256_madd_epi16((__m256i)(a), (__m256i)(b)))
#include "kernel.inc"
#pragma clang attribute pop
#endif
