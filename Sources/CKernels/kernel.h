/// What the variants share: the memory they work in.
#ifndef DESCENT_KERNEL_H
#define DESCENT_KERNEL_H

#include "CKernels.h"

enum {
  LANES = 16,
  /// Chunks of 16 pixels in an image.
  CHUNKS = DESCENT_PIXELS / LANES,
  /// Examples over which the loss runs elementwise.
  BLOCK = 16,
  /// The most examples whose scores are computed together. Their converted pixels, 12 kB each, stay in the second-level
  /// cache until the gradient is taken.
  GROUP = 64,
  /// Floats from one example's converted pixels to the next one's: at a multiple of 4 kB, the same pixels of all examples
  /// would share a few sets of the first-level cache.
  ROW = DESCENT_PIXELS + 32,
};

/// Each array begins a cache line.
#define ALIGNED _Alignas(64)

struct descent_workspace {
  /// What each example's pixels are multiplied with in the gradient, [capacity, K].
  float *coefficients;
  /// The sum of each shard's coefficients, [capacity, K].
  float *totals;
  ALIGNED float mean[DESCENT_PIXELS];
  /// w / 127.5 as [CHUNKS, K, LANES]: what one chunk of pixels meets lies together.
  ALIGNED float weights[DESCENT_WEIGHTS];
  /// b − Σ_j w_j mean_j / 127.5.
  ALIGNED float bias[DESCENT_CLASSES];
  /// Converted pixels of the group whose scores were computed last, [GROUP, ROW].
  ALIGNED float pixels[GROUP * ROW];
  /// Unreduced scores of one group, [GROUP, K, LANES].
  ALIGNED float lanes[GROUP * DESCENT_CLASSES * LANES];
};

extern const descent_kernel descent_kernel_avx512, descent_kernel_avx2, descent_kernel_portable;

#endif
