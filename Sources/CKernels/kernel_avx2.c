/// 16 registers of 8 lanes, 10 of them for sums: lanes 0–7 and 8–15 are separate passes, and so are classes 0–4 and 5–9.
/// Blockings were chosen by measurement.
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
#define GATHERED GROUP
#define ROUND_TO_INT32(x) ((vector_int)_mm256_cvtps_epi32((__m256)(x)))
#include "kernel.inc"
#pragma clang attribute pop
#endif
