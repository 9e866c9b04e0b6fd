// Calls every kernel of every variant with memory of exactly the size it may touch, for the address and
// undefined-behaviour sanitizers. Built and run by Scripts/sanitize.sh; prints what it did.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static uint64_t state = 1;

static uint64_t word(void) {
  state += 0x9E3779B97F4A7C15u;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static void *memory(size_t bytes) {
  void *result = malloc(bytes ? bytes : 1);  // defence: kernel-memory
  if (!result) abort();
  return result;
}

/// Parameters of a size from tiny to infinite.
static float *parameters(int magnitude) {
  float *values = memory(DESCENT_PARAMETERS * sizeof *values);
  float scale = 1;
  for (int i = 0; i < magnitude; i++) scale *= 1e6f;
  for (int i = 0; i < DESCENT_PARAMETERS; i++) values[i] = ((float)(word() >> 40) / (1 << 24) - 0.5f) * scale;
  if (magnitude == 8) values[17] = 0.0f / values[0] * 0.0f;
  return values;
}

/// One gradient and one evaluation of `shards` · `examples` records, each in memory of its own at an odd address.
static void compute(const descent_kernel *kernel, size_t shards, size_t examples, descent_loss loss, int magnitude) {
  const size_t count = shards * examples;
  const uint8_t **records = memory(count * sizeof *records);
  for (size_t i = 0; i < count; i++) {
    uint8_t *record = (uint8_t *)memory(DESCENT_PIXELS + 2) + 1;
    for (int j = 0; j <= DESCENT_PIXELS; j++) record[j] = (uint8_t)word();
    record[0] %= DESCENT_CLASSES;
    records[i] = record;
  }
  float *mean = memory(DESCENT_PIXELS * sizeof *mean);
  for (int i = 0; i < DESCENT_PIXELS; i++) mean[i] = (float)(word() % 256);
  float *values = parameters(magnitude);
  descent_workspace *workspace = descent_workspace_create(count, mean);
  int32_t *sum = memory(DESCENT_PARAMETERS * sizeof *sum);
  descent_statistics statistics;
  kernel->gradient(workspace, values, records, shards, examples, loss, 1 << 20, sum, &statistics);
  int64_t confusion[DESCENT_CLASSES * DESCENT_CLASSES] = {0};
  kernel->evaluate(workspace, values, records, count, loss, confusion, &statistics);
  float *scores = memory(count * DESCENT_CLASSES * sizeof *scores);
  kernel->scores(workspace, values, records, count, scores);
  kernel->softmax(scores, count, scores);
  free(scores);
  free(sum);
  descent_workspace_destroy(workspace);
  free(values);
  free(mean);
  for (size_t i = 0; i < count; i++) free((void *)(records[i] - 1));
  free(records);
}

/// Updates with sums at odd addresses whose parts wrap.
static void update(const descent_kernel *kernel, int kind, int has_addend, int has_copy) {
  const size_t bytes = DESCENT_PARAMETERS * sizeof(int32_t);
  char *sum = (char *)memory(bytes + 1) + 1, *addend = (char *)memory(bytes + 3) + 3;
  memset(sum, 0x7F, bytes);
  memset(addend, 0x7F, bytes);
  float *values = parameters(0), *velocity = parameters(0), *copy = memory(bytes);
  double *squares = memory((DESCENT_PARAMETERS / DESCENT_NORM_CHUNK + 1) * 16 * sizeof(double));
  const descent_update rule = {
    .gradient_scale = 1e-9f, .decay = 0.1f, .learning_rate = 0.1f, .momentum = 0.9f, .kind = (descent_momentum)kind};
  kernel->apply(
    &rule, 0, DESCENT_PARAMETERS, sum, has_addend ? addend : NULL, values,
    kind == DESCENT_MOMENTUM_NONE ? NULL : velocity, has_copy ? copy : NULL, squares);
  for (size_t count = 0; count < 200; count += 7) kernel->squared_norm_int32(sum + bytes - count * 4, count);
  free(squares);
  free(copy);
  free(velocity);
  free(values);
  free(sum - 1);
  free(addend - 3);
}

static void sums(const descent_kernel *kernel) {
  for (size_t count = 0; count < 300; count += 13) {
    int32_t *sum = memory(count * sizeof *sum);
    char *a = (char *)memory(count * 4 + 1) + 1;
    memset(a, 0x80, count * 4);
    kernel->add_int32(sum, a, a, count);
    descent_crc32c(0, a, count * 4);
    free(a - 1);
    free(sum);
  }
  for (size_t count = 0; count < 5000; count += 61) {
    uint8_t *bytes = memory(count);
    memset(bytes, 1, count);
    descent_crc32c((uint32_t)count, bytes, count);
    free(bytes);
  }
}

int main(void) {
  const char *names[] = {[DESCENT_AVX512] = "avx512", [DESCENT_AVX2] = "avx2", [DESCENT_PORTABLE] = "portable"};
  const size_t shapes[][2] = {{1, 1}, {1, 3}, {4, 16}, {3, 17}, {2, 64}, {1, 65}, {16, 1}, {0, 1}};
  int calls = 0;
  for (size_t v = 0; v < sizeof names / sizeof *names; v++) {
    const descent_kernel *kernel = descent_kernel_find((descent_variant)v);
    if (!kernel) {
      printf("%s: not on this processor\n", names[v]);
      continue;
    }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      for (int loss = DESCENT_LOSS_SOFTMAX; loss <= DESCENT_LOSS_HINGE; loss++)
        for (int magnitude = 0; magnitude <= 8; magnitude += 4, calls++)
          compute(kernel, shapes[s][0], shapes[s][1], (descent_loss)loss, magnitude);
    for (int kind = 0; kind < 3; kind++)
      for (int parts = 0; parts < 4; parts++, calls++) update(kernel, kind, parts & 1, parts >> 1);
    sums(kernel);
  }
  printf("%d calls of the kernels\n", calls);
}
