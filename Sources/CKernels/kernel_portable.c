/// Whatever the compiler's baseline has: NEON on aarch64 (32 registers of 4 lanes). Where the baseline has no fused
/// multiply-add, as on x86-64, it is computed in double precision: slower, and the same bits.
#include "kernel.h"

#ifndef __FP_FAST_FMAF
#define EMULATES_FMA
#endif
#define VARIANT descent_kernel_portable
#define WIDTH 4
#define FORWARD_IMAGES 2
#define FORWARD_CLASSES 10
#define BACKWARD_VECTORS 2
#define BACKWARD_CLASSES 10
#ifdef EMULATES_FMA
#define DENSE_ROWS 2
#else
#define DENSE_ROWS 6
#endif
#define DENSE_VECTORS 4
#define SPARSE_VECTORS 12
#define GATHERED GROUP
#define CONVERTS_BESIDE_FMA false
#define ROUND_TO_INT32(x) __builtin_convertvector(__builtin_elementwise_roundeven(x), vector_int)
#include "kernel.inc"
