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

descent_workspace *descent_workspace_create(size_t capacity, const float *mean) {
  // One piece of memory: the structure, then the arrays of `capacity`, each in whole cache lines.
  const size_t size = (capacity * DESCENT_CLASSES * sizeof(float) + 63) / 64 * 64;
  const size_t total = sizeof(descent_workspace) + 2 * size;
  descent_workspace *workspace = aligned_alloc(_Alignof(descent_workspace), total);
  if (!workspace) return NULL;
  memset(workspace, 0, total);
  workspace->coefficients = (float *)(workspace + 1);
  workspace->totals = workspace->coefficients + size / sizeof(float);
  memcpy(workspace->mean, mean, sizeof workspace->mean);
  return workspace;
}

void descent_workspace_destroy(descent_workspace *workspace) { free(workspace); }
