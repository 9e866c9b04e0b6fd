/// The variants this processor can run, the workspace, and the public functions, each of which calls its variant.
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

// MARK: Variants

static bool has_avx2(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  return false;
#endif
}

static bool has_avx512(void) {
#if defined(__x86_64__)
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
    && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

const descent_kernel *descent_kernel_find(descent_variant variant) {
  switch (variant) {
  case DESCENT_AVX512: return has_avx512() ? descent_kernel_avx512 : NULL;
  case DESCENT_AVX2: return has_avx2() ? descent_kernel_avx2 : NULL;
  case DESCENT_PORTABLE: return descent_kernel_portable;
  }
  return NULL;
}

// MARK: Workspace

enum { ALIGNMENT = 64 };

static size_t aligned(size_t floats) {
  return (floats * sizeof(float) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

descent_workspace *descent_workspace_create(const descent_kernel *kernel, size_t capacity, const float *mean) {
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
  workspace->kernel = kernel;
  workspace->capacity = capacity;
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

// MARK: Calls

void descent_gradient(
  descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t shards,
  size_t examples_per_shard, descent_loss loss, float fixed_point_scale, int32_t *sum,
  descent_statistics *statistics
) {
  workspace->kernel->gradient(
    workspace, parameters, records, shards, examples_per_shard, loss, fixed_point_scale, sum, statistics);
}

void descent_evaluate(
  descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t count,
  descent_loss loss, int64_t *confusion, descent_statistics *statistics
) {
  workspace->kernel->evaluate(workspace, parameters, records, count, loss, confusion, statistics);
}

void descent_scores(
  descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t count,
  float *scores
) {
  workspace->kernel->scores(workspace, parameters, records, count, scores);
}

void descent_loss_gradient(
  const descent_kernel *kernel, descent_loss loss, const float *scores, const uint8_t *labels, size_t count,
  float *coefficients, descent_statistics *statistics
) {
  kernel->loss_gradient(loss, scores, labels, count, coefficients, statistics);
}

void descent_softmax(const descent_kernel *kernel, const float *scores, size_t count, float *probabilities) {
  kernel->softmax(scores, count, probabilities);
}

void descent_exp(const descent_kernel *kernel, const float *x, float *result, size_t count) {
  kernel->exp(x, result, count);
}

void descent_log(const descent_kernel *kernel, const float *x, float *result, size_t count) {
  kernel->log(x, result, count);
}

void descent_apply(
  const descent_kernel *kernel, const descent_update *update, size_t first, size_t count, const void *sum,
  const void *addend, float *parameters, float *velocity, float *copy, double *squares
) {
  kernel->apply(update, first, count, sum, addend, parameters, velocity, copy, squares);
}

void descent_add_int32(const descent_kernel *kernel, int32_t *sum, const void *a, const void *b, size_t count) {
  kernel->add_int32(sum, a, b, count);
}

double descent_squared_norm_int32(const descent_kernel *kernel, const void *a, size_t count) {
  return kernel->squared_norm_int32(a, count);
}

uint64_t descent_peak(const descent_kernel *kernel, uint64_t rounds, float *sink) {
  return kernel->peak(rounds, sink);
}
