/// 32 registers of 16 lanes: 2 images × 10 classes forward and 32 pixels × 10 classes backward keep 20 sums in
/// registers. On Intel each byte is converted once, with two instructions that share their ports with the multiply-adds;
/// keeping the result for the gradient costs bandwidth between the first two caches instead, and is faster. More than 32
/// examples at a time are no faster, and leave less of the second one to the server that shares the core: steps take
/// longer. On AMD conversions have other ports, and converting twice is faster (measured on a Zen 4).
#include "kernel.h"

#if defined(__x86_64__)
#include <immintrin.h>
#pragma clang attribute push( \
  __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"))), apply_to = function)
#define VARIANT descent_kernel_avx512
#define WIDTH 16
#define FORWARD_IMAGES 2
#define FORWARD_CLASSES 10
#define BACKWARD_VECTORS 2
#define BACKWARD_CLASSES 10
#define DENSE_ROWS 12
#define DENSE_VECTORS 2
#define SPARSE_VECTORS 8
#define GATHERED 32
#define CONVERTS_BESIDE_FMA __builtin_cpu_is("amd")
#define ROUND_TO_INT32(x) ((vector_int)_mm512_cvtps_epi32((__m512)(x)))
#define ROUNDING_MARKS_OVERFLOWS
#define ABSOLUTE_DIFFERENCES(a, b) ((vector_words)_mm512_sad_epu8((__m512i)(a), (__m512i)(b)))
#define PRODUCTS_OF_PAIRS(a, b) ((vector_words)_mm512_madd_epi16((__m512i)(a), (__m512i)(b)))
#include "kernel.inc"
#pragma clang attribute pop
#endif
