// Calls every kernel of every variant with memory of exactly the size it may touch, for the address and
// undefined-behaviour sanitizers. Built and run by Scripts/sanitize.sh. Prints what it did and the checksum of all that the
// kernels computed, which is the same for every variant and on every machine: Scripts/arm.sh compares it with Arm's.
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

/// CRC-32C of the results of the variant so far.
static uint32_t digest;

static void note(const void *bytes, size_t count) { digest = descent_crc32c(digest, bytes, count); }

/// The sign and the payload of what is not a number differ between processors, and nothing reads them.
static void note_floats(const float *values, size_t count) {
  for (size_t i = 0; i < count; i++) {
    const float value = values[i] == values[i] ? values[i] : 0;
    note(&value, sizeof value);
  }
}

static void note_statistics(const descent_statistics *statistics) {
  note(&statistics->loss_sum, sizeof statistics->loss_sum);
  note(&statistics->correct, sizeof statistics->correct);
  note(&statistics->is_finite, sizeof statistics->is_finite);
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
  note(sum, size * sizeof *sum);
  note(peaks, 2 * m->layers);
  note_statistics(&statistics);
  int64_t *confusion = memory(classes * classes * sizeof *confusion);
  memset(confusion, 0, classes * classes * sizeof *confusion);
  kernel->evaluate(workspace, values, records, count, loss, 1, confusion, &statistics);
  note(confusion, classes * classes * sizeof *confusion);
  note_statistics(&statistics);
  float *scores = memory(count * classes * sizeof *scores);
  kernel->scores(workspace, values, records, count, scores);
  note_floats(scores, count * classes);
  kernel->softmax(scores, count, classes, scores);
  note_floats(scores, count * classes);
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
  const size_t chunks = DESCENT_PARAMETERS / DESCENT_NORM_CHUNK + 1;
  double *squares = memory(chunks * 16 * sizeof *squares);
  const descent_update rule = {
    .optimizer = (descent_optimizer)optimizer, .learning_rate = 0.1f, .first = {0.9f, 0.1f, 1}, .second = {0.9f, 0.1f, 1},
    .epsilon = 1e-8f, .max_norm = 1, .blocks = blocks};
  const int slots = optimizer == DESCENT_SGD ? 0 : optimizer < DESCENT_ADAM ? 1 : 2;
  kernel->apply(
    &rule, 0, DESCENT_PARAMETERS, sum, has_addend ? addend : NULL, values,
    slots > 0 ? first : NULL, slots > 1 ? second : NULL, has_copy ? copy : NULL, squares);
  note_floats(values, DESCENT_PARAMETERS);
  note_floats(first, DESCENT_PARAMETERS);
  note_floats(second, DESCENT_PARAMETERS);
  if (has_copy) note_floats(copy, DESCENT_PARAMETERS);
  note(squares, chunks * 16 * sizeof *squares);
  for (size_t count = 0; count < 200; count += 7) {
    const double norm = kernel->squared_norm_int32(sum + bytes - count * 4, count);
    note(&norm, sizeof norm);
  }
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
    note(sum, count * sizeof *sum);
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

/// Distances of all pairs of some records at odd addresses, and the averages of their squares of pixels.
static void distances(const descent_kernel *kernel, size_t width, size_t count) {
  const size_t pixels = width * width;
  const uint8_t **records = memory(count * sizeof *records);
  for (size_t i = 0; i < count; i++) {
    uint8_t *record = (uint8_t *)memory(pixels + 2) + 1;
    for (size_t j = 0; j <= pixels; j++) record[j] = (uint8_t)word();
    records[i] = record;
  }
  descent_distance_memory *workspace = descent_distance_memory_create();
  int64_t *results = memory(count * count * sizeof *results);
  for (int kind = DESCENT_L1; kind <= DESCENT_SQUARED_L2; kind++) {
    kernel->distances((descent_distance)kind, workspace, records, count, records, count, pixels, results);
    note(results, count * count * sizeof *results);
    const int64_t distance = kernel->distance((descent_distance)kind, records[0], records[count - 1], pixels);
    note(&distance, sizeof distance);
  }
  for (size_t side = 1; side <= width; side++) {
    uint8_t *averages = memory((width / side) * (width / side));
    kernel->block_averages(records[0], width, width, 1, side, averages);
    note(averages, (width / side) * (width / side));
    free(averages);
  }
  free(results);
  descent_distance_memory_destroy(workspace);
  for (size_t i = 0; i < count; i++) free((void *)(records[i] - 1));
  free(records);
}

/// Activations and elementary functions of numbers of all sizes.
static void functions(const descent_kernel *kernel, size_t count) {
  float *z = memory(count * sizeof *z), *values = memory(count * sizeof *z), *derivatives = memory(count * sizeof *z);
  for (size_t i = 0; i < count; i++) {
    const uint32_t bits = (uint32_t)word();
    memcpy(&z[i], &bits, sizeof bits);
  }
  for (int activation = DESCENT_IDENTITY; activation <= DESCENT_SIGMOID; activation++) {
    kernel->activate((descent_activation)activation, 0.2f, z, values, derivatives, count);
    note_floats(values, count);
    note_floats(derivatives, count);
  }
  for (size_t i = 0; i < count; i++) z[i] = -88.0f * (float)(word() >> 40) / (1 << 24);
  kernel->exp(z, values, count);
  note_floats(values, count);
  for (size_t i = 0; i < count; i++) z[i] = 1 - z[i];
  kernel->log(z, values, count);
  note_floats(values, count);
  free(z);
  free(values);
  free(derivatives);
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
  uint32_t first_digest = 0;
  const char *first_name = NULL;
  for (size_t v = 0; v < sizeof names / sizeof *names; v++) {
    const descent_kernel *kernel = descent_kernel_find((descent_variant)v);
    if (!kernel) {
      printf("%s: not on this processor\n", names[v]);
      continue;
    }
    state = 1;
    digest = 0;
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
    for (size_t width = 1; width <= 33; width += 8, calls++) distances(kernel, width, 3 + 2 * width);
    for (size_t count = 1; count < 1000; count += 111, calls++) functions(kernel, count);
    if (!first_name) first_name = names[v], first_digest = digest;
    if (digest != first_digest) {
      printf("%s computes %08x, %s %08x\n", first_name, first_digest, names[v], digest);
      return EXIT_FAILURE;
    }
  }
  printf("results %08x\n", first_digest);
  printf("%d calls of the kernels\n", calls);
}
