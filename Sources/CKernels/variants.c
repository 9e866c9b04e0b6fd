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

/// So many bytes as whole cache lines, at the start of one.
static void *lines(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }

static linear_workspace *linear_create(size_t capacity, const float *mean) {
  // One piece of memory: the structure, then the arrays of `capacity`, each in whole cache lines.
  const size_t size = (capacity * DESCENT_CLASSES * sizeof(float) + 63) / 64 * 64;
  const size_t total = sizeof(linear_workspace) + 2 * size;
  linear_workspace *workspace = lines(total);
  if (!workspace) return NULL;
  memset(workspace, 0, total);
  workspace->coefficients = (float *)(workspace + 1);
  workspace->totals = workspace->coefficients + size / sizeof(float);
  memcpy(workspace->mean, mean, sizeof workspace->mean);
  return workspace;
}

/// As many examples at a time as their sums take some tens of megabytes, within the limits.
static size_t network_group(size_t capacity, size_t units) {
  size_t group = capacity < NETWORK_GROUP ? capacity : NETWORK_GROUP;
  const size_t most = ((size_t)1 << 23) / units;
  if (group > most) group = most;
  return group <= WIDEST_PANEL ? WIDEST_PANEL : (group + WIDEST_PANEL - 1) / WIDEST_PANEL * WIDEST_PANEL;
}

static void network_destroy(network_workspace *network) {
  if (!network) return;
  for (size_t l = 0; l < network->layer_count; l++) {
    free(network->layers[l].sums);
    free(network->layers[l].values);
  }
  free(network->mean);
  free(network->finite);
  free(network->packed);
  free(network->masks);
  free(network->derivatives);
  free(network->chains);
  free(network);
}

static bool allocate_arrays(network_workspace *network, size_t capacity, size_t widest) {
  const size_t row = row_of(network->group);
  bool is_complete = true;
  for (size_t l = 0; l < network->layer_count; l++) {
    network_layer *layer = &network->layers[l];
    layer->sums = lines(layer->outputs * row * sizeof(float));
    is_complete &= layer->sums != NULL;
    if (l + 1 == network->layer_count) continue;
    layer->values = lines(layer->outputs * row * sizeof(float));
    is_complete &= layer->values != NULL;
  }
  network->mean = lines((network->pixels + WIDEST_SPARSE) * sizeof(float));
  network->finite = lines(network->group * sizeof(int32_t));
  network->packed = lines(DEPTH * network->group * sizeof(float));
  network->masks = lines(widest * (network->group / FEWEST_SPARSE_EXAMPLES) * sizeof(uint64_t));
  network->derivatives = lines(widest * row * sizeof(float));
  is_complete &= network->mean && network->finite && network->packed && network->masks && network->derivatives;
  if (capacity > network->group) {
    network->chains = lines(network->parameter_count * sizeof(float));
    is_complete &= network->chains != NULL;
  }
  return is_complete;
}

static network_workspace *network_create(
  const size_t *units, size_t layers, descent_activation activation, float parameter, size_t capacity,
  const float *mean
) {
  network_workspace *network = calloc(1, sizeof *network);
  if (!network) return NULL;
  network->layer_count = layers;
  network->pixels = units[0];
  network->activation = activation;
  network->activation_parameter = parameter;
  size_t all = 0, widest = 1;
  for (size_t l = 0; l < layers; l++) {
    network_layer *layer = &network->layers[l];
    layer->inputs = units[l];
    layer->outputs = units[l + 1];
    layer->weight = network->parameter_count;
    network->parameter_count += layer->outputs * (layer->inputs + 1);
    all += layer->outputs;
    if (l + 1 < layers && layer->outputs > widest) widest = layer->outputs;
  }
  network->group = network_group(capacity, all);
  if (!allocate_arrays(network, capacity, widest)) {
    network_destroy(network);
    return NULL;
  }
  memset(network->mean, 0, (network->pixels + WIDEST_SPARSE) * sizeof(float));
  memcpy(network->mean, mean, network->pixels * sizeof(float));
  return network;
}

descent_workspace *descent_workspace_create(
  const size_t *units, size_t layers, descent_activation activation, float parameter, size_t capacity,
  const float *mean
) {
  descent_workspace *workspace = calloc(1, sizeof *workspace);
  if (!workspace) return NULL;
  if (layers == 1 && units[0] == DESCENT_PIXELS && units[1] == DESCENT_CLASSES)
    workspace->linear = linear_create(capacity, mean);
  else
    workspace->network = network_create(units, layers, activation, parameter, capacity, mean);
  if (workspace->linear || workspace->network) return workspace;
  free(workspace);
  return NULL;
}

descent_distance_memory *descent_distance_memory_create(void) { return lines(sizeof(descent_distance_memory)); }

void descent_distance_memory_destroy(descent_distance_memory *memory) { free(memory); }

void descent_workspace_destroy(descent_workspace *workspace) {
  if (!workspace) return;
  free(workspace->linear);
  network_destroy(workspace->network);
  free(workspace);
}
