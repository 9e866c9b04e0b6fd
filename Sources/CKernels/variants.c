/// The variants this processor can run, and the workspace.
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

// MARK: Variants

const descent_kernel *descent_kernel_find(descent_variant variant) {
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
    && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (variant == DESCENT_AVX2 && avx2) return &descent_kernel_avx2;
  if (variant == DESCENT_AVX512 && avx512) return &descent_kernel_avx512;
#endif
  return variant == DESCENT_PORTABLE ? &descent_kernel_portable : NULL;
}

// MARK: Workspace

enum { ALIGNMENT = 64 };

static size_t aligned(size_t floats) {
  return (floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

descent_workspace *descent_workspace_create(size_t capacity, const float *mean) {
  // One piece of memory: the description, then the arrays, each on a cache line of its own.
  const size_t header = (sizeof(descent_workspace) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  const size_t sizes[] = {
    aligned(DESCENT_PIXELS),
    aligned(DESCENT_WEIGHTS),
    aligned(DESCENT_CLASSES),
    aligned((size_t)GROUP * ROW),
    aligned(GROUP * DESCENT_CLASSES * LANES),
    aligned(capacity * DESCENT_CLASSES),
    aligned(capacity * DESCENT_CLASSES),
  };
  size_t total = header;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) total += sizes[i];
  char *memory = aligned_alloc(ALIGNMENT, total);
  if (!memory) return NULL;
  memset(memory, 0, total);

  descent_workspace *workspace = (descent_workspace *)memory;
  float **const arrays[] = {
    &workspace->mean,  &workspace->weights,      &workspace->bias,   &workspace->pixels,
    &workspace->lanes, &workspace->coefficients, &workspace->totals,
  };
  memory += header;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    *arrays[i] = (float *)memory;
    memory += sizes[i];
  }
  memcpy(workspace->mean, mean, DESCENT_PIXELS * sizeof(float));
  return workspace;
}

void descent_workspace_destroy(descent_workspace *workspace) { free(workspace); }
