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

typedef struct model {
  size_t layers, units[4];
  descent_activation activation;
} model;

static size_t parameter_count(const model *m) {
  size_t count = 0;
  for (size_t l = 0; l < m->layers; l++) count += m->units[l + 1] * (m->units[l] + 1);
  return count;
}

/// Parameters of a size from tiny to infinite.
static float *parameters(size_t count, int magnitude) {
  float *values = memory(count * sizeof *values);
  float scale = 1;
  for (int i = 0; i < magnitude; i++) scale *= 1e6f;
  for (size_t i = 0; i < count; i++) values[i] = ((float)(word() >> 40) / (1 << 24) - 0.5f) * scale;
  if (magnitude == 8) values[count > 17 ? 17 : 0] = 0.0f / values[0] * 0.0f;
  return values;
}

/// One gradient and one evaluation of `shards` · `examples` records, each in memory of its own at an odd address.
static void compute(
  const descent_kernel *kernel, const model *m, size_t shards, size_t examples, descent_loss loss, int magnitude
) {
  const size_t count = shards * examples, size = parameter_count(m), pixels = m->units[0], classes = m->units[m->layers];
  const uint8_t **records = memory(count * sizeof *records);
  uint32_t *numbers = memory(count * sizeof *numbers);
  for (size_t i = 0; i < count; i++) {
    uint8_t *record = (uint8_t *)memory(pixels + 2) + 1;
    for (size_t j = 0; j <= pixels; j++) record[j] = (uint8_t)word();
    if (classes < 256) record[0] = (uint8_t)(record[0] % classes);
    records[i] = record;
    numbers[i] = (uint32_t)word();
  }
  float *mean = memory(pixels * sizeof *mean);
  for (size_t i = 0; i < pixels; i++) mean[i] = (float)(word() % 256);
  float *values = parameters(size, magnitude), scales[2 * DESCENT_MOST_LAYERS];
  for (size_t i = 0; i < 2 * m->layers; i++) scales[i] = 1 << 20;
  descent_workspace *workspace = descent_workspace_create(m->units, m->layers, m->activation, 0.2f, count, mean);
  int32_t *sum = memory(size * sizeof *sum);
  int8_t peaks[2 * DESCENT_MOST_LAYERS];
  descent_statistics statistics;
  const descent_dropout dropout = {
    .key = {1, 2}, .step = 3, .threshold = 1u << 31, .factor = 2, .examples = numbers};
  kernel->gradient(
    workspace, values, records, shards, examples, loss, 1, m->layers > 1 && magnitude ? &dropout : NULL, scales, sum,
    &statistics, peaks);
  int64_t *confusion = memory(classes * classes * sizeof *confusion);
  memset(confusion, 0, classes * classes * sizeof *confusion);
  kernel->evaluate(workspace, values, records, count, loss, 1, confusion, &statistics);
  float *scores = memory(count * classes * sizeof *scores);
  kernel->scores(workspace, values, records, count, scores);
  kernel->softmax(scores, count, classes, scores);
  free(scores);
  free(confusion);
  free(sum);
  descent_workspace_destroy(workspace);
  free(values);
  free(mean);
  for (size_t i = 0; i < count; i++) free((void *)(records[i] - 1));
  free(records);
  free(numbers);
}

/// Updates with sums at odd addresses whose parts wrap.
static void update(const descent_kernel *kernel, int optimizer, int has_addend, int has_copy) {
  // Blocks that begin and end within 16 lanes, and rows that straddle chunks.
  const descent_block blocks[] = {
    {.end = 100 * 301, .gradient_scale = 1e-9f, .decay = 0.1f, .l1 = 0.1f, .row = 301},
    {.end = DESCENT_PARAMETERS - 7, .gradient_scale = 1e-9f},
    {.end = DESCENT_PARAMETERS, .gradient_scale = 1e-9f, .decay = 0.1f, .row = 7},
  };
  const size_t bytes = DESCENT_PARAMETERS * sizeof(int32_t);
  char *sum = (char *)memory(bytes + 1) + 1, *addend = (char *)memory(bytes + 3) + 3;
  memset(sum, 0x7F, bytes);
  memset(addend, 0x7F, bytes);
  float *values = parameters(DESCENT_PARAMETERS, 0), *first = parameters(DESCENT_PARAMETERS, 0);
  float *second = parameters(DESCENT_PARAMETERS, 0), *copy = memory(bytes);
  double *squares = memory((DESCENT_PARAMETERS / DESCENT_NORM_CHUNK + 1) * 16 * sizeof(double));
  const descent_update rule = {
    .optimizer = (descent_optimizer)optimizer, .learning_rate = 0.1f, .first = {0.9f, 0.1f, 1}, .second = {0.9f, 0.1f, 1},
    .epsilon = 1e-8f, .max_norm = 1, .blocks = blocks};
  const int slots = optimizer == DESCENT_SGD ? 0 : optimizer < DESCENT_ADAM ? 1 : 2;
  kernel->apply(
    &rule, 0, DESCENT_PARAMETERS, sum, has_addend ? addend : NULL, values,
    slots > 0 ? first : NULL, slots > 1 ? second : NULL, has_copy ? copy : NULL, squares);
  for (size_t count = 0; count < 200; count += 7) kernel->squared_norm_int32(sum + bytes - count * 4, count);
  free(squares);
  free(copy);
  free(second);
  free(first);
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
  const model models[] = {
    {1, {DESCENT_PIXELS, DESCENT_CLASSES}, DESCENT_IDENTITY},
    {1, {2, 2}, DESCENT_IDENTITY},
    {1, {300, 256}, DESCENT_IDENTITY},
    {2, {15, 7, 3}, DESCENT_RELU},
    {2, {70, 33, 10}, DESCENT_TANH},
    {3, {31, 1, 20, 2}, DESCENT_ELU},
    {3, {64, 12, 13, 5}, DESCENT_SIGMOID},
    {2, {17, 12, 4}, DESCENT_LEAKY_RELU},
  };
  const size_t model_count = sizeof models / sizeof *models;
  int calls = 0;
  for (size_t v = 0; v < sizeof names / sizeof *names; v++) {
    const descent_kernel *kernel = descent_kernel_find((descent_variant)v);
    if (!kernel) {
      printf("%s: not on this processor\n", names[v]);
      continue;
    }
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
      for (size_t m = 0; m < model_count; m++)
        for (int loss = DESCENT_LOSS_SOFTMAX; loss <= DESCENT_LOSS_SIGMOID_SQUARED_ERROR; loss++)
          for (int magnitude = 0; magnitude <= 8; magnitude += 4, calls++)
            compute(kernel, &models[m], shapes[s][0], shapes[s][1], (descent_loss)loss, magnitude);
    // More examples than are computed together, in one shard and in several.
    for (size_t shards = 1; shards <= 31; shards += 15)
      for (size_t m = 1; m < model_count; m++, calls++)
        compute(kernel, &models[m], shards, 600 / shards, DESCENT_LOSS_SOFTMAX, 0);
    for (int optimizer = DESCENT_SGD; optimizer <= DESCENT_ADAMW; optimizer++)
      for (int parts = 0; parts < 4; parts++, calls++) update(kernel, optimizer, parts & 1, parts >> 1);
    sums(kernel);
  }
  printf("%d calls of the kernels\n", calls);
}
