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
  /// The most examples of a network that are computed together.
  NETWORK_GROUP = 512,
  /// Columns of the widest tile of a product that any variant has.
  WIDEST_PANEL = 32,
  /// Inputs of a layer whose products are added up before the next ones: their factor, [DEPTH, examples], stays in the
  /// second-level cache.
  DEPTH = 256,
  /// Inputs whose weights' gradients are computed together: a line of each record.
  GRADIENT_INPUTS = 64,
  /// The same of the widest variant, where many derivatives of the units are zero.
  WIDEST_SPARSE = 128,
  /// Shards of which zero derivatives are left out: with fewer examples rounding takes the time, with more the inputs do
  /// not stay in the first-level cache.
  FEWEST_SPARSE_EXAMPLES = 24,
  MOST_SPARSE_EXAMPLES = 64,
  /// Words of 8 bytes of each example whose distances are computed together: those of a tile stay in the first-level cache.
  DISTANCE_CHUNK = 128,
  /// The most queries of a call; a multiple of every variant's rows. Their chunk stays in the second-level cache.
  DISTANCE_QUERIES = DESCENT_DISTANCE_QUERIES,
  /// Examples of the widest panel of distances that any variant has.
  WIDEST_COLUMNS = 16,
};

/// Each array begins a cache line.
#define ALIGNED _Alignas(64)

/// The memory of the linear classifier of CIFAR-10.
typedef struct linear_workspace {
  /// What each example's pixels are multiplied with in the gradient, [capacity, K].
  float *coefficients;
  /// The sum of each shard's coefficients, [capacity, K].
  float *totals;
  ALIGNED float mean[DESCENT_PIXELS];
  /// w / 127.5 as [CHUNKS, K, LANES]: what one chunk of pixels meets lies together.
  ALIGNED float weights[DESCENT_WEIGHTS];
  /// b − Σ_j w_j mean_j / 127.5.
  ALIGNED float bias[DESCENT_CLASSES];
  /// Converted pixels of the group whose scores were computed last, [GROUP, ROW]; or those of a tile of the gradient.
  ALIGNED float pixels[GROUP * ROW];
  /// Unreduced scores of one group, [GROUP, K, LANES].
  ALIGNED float lanes[GROUP * DESCENT_CLASSES * LANES];
} linear_workspace;

/// A fully connected layer. Matrices of units and examples have the units as rows.
typedef struct network_layer {
  size_t inputs, outputs;
  /// Where its weights begin in the flat vector; the bias follows.
  size_t weight;
  /// [outputs, row]: the sums z of the newest group, then the derivative of the activation at z, then that of the loss by z.
  float *sums;
  /// [outputs, row]: what the next layer sees. NULL for the last layer.
  float *values;
} network_layer;

/// The memory of a model of any shape.
typedef struct network_workspace {
  size_t layer_count, pixels, parameter_count;
  network_layer layers[DESCENT_MOST_LAYERS];
  descent_activation activation;
  float activation_parameter;
  /// The most examples whose sums are computed together; a multiple of WIDEST_PANEL.
  size_t group;
  /// Those of the newest call.
  const float *parameters;
  /// [pixels], and WIDEST_SPARSE zeros.
  float *mean;
  /// −1 for the examples of the newest group whose sums are all finite, otherwise 0; [group].
  int32_t *finite;
  /// A block of the right factor of a product, in panels.
  float *packed;
  /// The examples of each shard whose derivatives by a unit are not zero, [outputs, shards].
  uint64_t *masks;
  /// The derivatives of the loss by the values of a hidden layer, [outputs, row].
  float *derivatives;
  /// The chains of a shard that has more examples than a group, [parameters]; NULL if there is no such shard.
  float *chains;
} network_workspace;

/// Of the two, one is there.
struct descent_workspace {
  linear_workspace *linear;
  network_workspace *network;
};

/// A chunk of all queries and of a panel of examples, packed by word, and the sums of their squares over that chunk.
struct descent_distance_memory {
  ALIGNED uint64_t queries[DISTANCE_QUERIES * DISTANCE_CHUNK];
  ALIGNED uint64_t panel[WIDEST_COLUMNS * DISTANCE_CHUNK];
  ALIGNED int64_t query_squares[DISTANCE_QUERIES];
  ALIGNED int64_t panel_squares[WIDEST_COLUMNS];
};

/// Floats from one row of a matrix of units and examples to the next: an odd number of cache lines, so that rows do not
/// share a few sets of the first-level cache.
static inline size_t row_of(size_t examples) {
  return ((examples + WIDEST_PANEL - 1) / WIDEST_PANEL * WIDEST_PANEL / LANES | 1) * LANES;
}

extern const descent_kernel descent_kernel_avx512, descent_kernel_avx2, descent_kernel_portable;

#endif
