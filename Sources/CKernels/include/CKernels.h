/// The hot loops of Descent: scores, gradient, update, integer sums and checksums.
///
/// A model is a chain of fully connected layers, z = W x + b. Parameters are one flat float vector: of each layer W
/// [outputs, inputs] row-major, then b [outputs]. A record is a label byte followed by D pixel bytes, at any alignment, and
/// is read where it lies; the input of the model is (pixel − mean) / 127.5.
///
/// Every function gives the same bits in every variant (AVX-512, AVX2, portable). In a model of any shape an element of a
/// product is one chain of fused multiply-adds, over inputs, units or examples in rising order. The linear classifier of
/// CIFAR-10, K = 10 classes and D = 3072 pixels, has kernels of its own whose shape is known to the compiler: their
/// sums run over 16 lanes, lane l takes the elements j ≡ l (mod 16) in rising j by fused multiply-add, and lanes meet in one
/// fixed tree (8+8, 4+4, 2+2, 1+1). Distances are integers. Nothing here allocates except the functions
/// named `create`.
#ifndef DESCENT_CKERNELS_H
#define DESCENT_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  DESCENT_CLASSES = 10,
  DESCENT_PIXELS = 3072,
  DESCENT_WEIGHTS = DESCENT_CLASSES * DESCENT_PIXELS,
  DESCENT_PARAMETERS = DESCENT_WEIGHTS + DESCENT_CLASSES,
  /// Fractional bits of a loss sum.
  DESCENT_LOSS_FRACTION_BITS = 24,
  /// A label is one byte.
  DESCENT_MOST_CLASSES = 256,
  /// Layers of a model.
  DESCENT_MOST_LAYERS = 8,
  /// The most examples whose distances to others one call computes.
  DESCENT_DISTANCE_QUERIES = 480,
};

/// One example's loss in fixed point never exceeds this (16,384 as a number): 2^25 examples sum without overflow.
#define DESCENT_LOSS_LIMIT ((int64_t)1 << 38)

// MARK: Variants

/// The instruction sets the kernels are compiled for, fastest first.
typedef enum descent_variant {
  DESCENT_AVX512 = 0,
  DESCENT_AVX2 = 1,
  DESCENT_PORTABLE = 2,
} descent_variant;

// MARK: Arguments

typedef enum descent_loss {
  /// −s_y + log Σ exp s, with the maximum subtracted from every score first.
  DESCENT_LOSS_SOFTMAX = 1,
  /// Weston–Watkins: Σ_{j≠y} max(0, s_j − s_y + Δ).
  DESCENT_LOSS_HINGE = 2,
  /// Σ_{j≠y} max(0, s_j − s_y + Δ)².
  DESCENT_LOSS_SQUARED_HINGE = 3,
  /// One-versus-all: Σ_k log(1 + exp(−t_k s_k)), t_k = 1 for the label and −1 otherwise.
  DESCENT_LOSS_LOGISTIC = 4,
  /// Σ_k (s_k − [k = y])².
  DESCENT_LOSS_SQUARED_ERROR = 5,
  /// Σ_k (σ(s_k) − [k = y])².
  DESCENT_LOSS_SIGMOID_SQUARED_ERROR = 6,
} descent_loss;

/// Losses and predictions of a set of examples, summed.
///
/// An example with a score that is not finite, or with a label that is no class, clears `is_finite` and counts zero
/// everywhere: gradient, loss, correct, confusion. So does a loss above `DESCENT_LOSS_LIMIT`, except that it counts as the limit and keeps its gradient.
typedef struct descent_statistics {
  /// Sum of the losses, each rounded to `DESCENT_LOSS_FRACTION_BITS` fractional bits on its own.
  int64_t loss_sum;
  /// Examples whose label has the highest score (the lowest such class wins a tie).
  int64_t correct;
  bool is_finite;
} descent_statistics;

/// What a hidden unit makes of its sum z.
typedef enum descent_activation {
  DESCENT_IDENTITY = 0,
  /// max(0, z); its derivative at 0 is 0.
  DESCENT_RELU = 1,
  /// z above 0, else slope · z; its derivative at 0 is the slope.
  DESCENT_LEAKY_RELU = 2,
  /// z above 0, else α (e^z − 1); its derivative at 0 is α.
  DESCENT_ELU = 3,
  DESCENT_TANH = 4,
  /// 1 / (1 + e^−z).
  DESCENT_SIGMOID = 5,
} descent_activation;

/// Which hidden units a training step leaves out. Unit u of hidden layer l is left out for example i of the data set where
/// word u mod 8, of 32 bits, of the Philox4x64-10 block with key `key` and counter (u / 8, i, step, l) is below `threshold`;
/// the low half of a 64-bit word is the first.
typedef struct descent_dropout {
  uint64_t key[2];
  uint64_t step;
  uint32_t threshold;
  /// What the values of the others are multiplied with.
  float factor;
  /// The number of each example in the data set, as many as there are records.
  const uint32_t *examples;
} descent_dropout;

/// What turns a gradient g into the direction d of `w −= learning_rate · d`. Each is one file in `optimizers`.
typedef enum descent_optimizer {
  DESCENT_SGD = 0,
  DESCENT_MOMENTUM = 1,
  DESCENT_NESTEROV = 2,
  DESCENT_ADAGRAD = 3,
  DESCENT_RMSPROP = 4,
  DESCENT_ADAM = 5,
  DESCENT_ADAMW = 6,
} descent_optimizer;

/// How a vector of the optimizer's state follows the gradients: x = decay · x + gain · (g or g²). `correction` is a factor
/// that makes up for its zeros before the first step.
typedef struct descent_average {
  float decay;
  float gain;
  float correction;
} descent_average;

/// A block of the parameters, which begins where the one before it ends. Its gradient is
/// g = q · gradient_scale + decay · w + l1 · sign(w), sign(0) = 0.
typedef struct descent_block {
  /// Where it ends in the flat vector.
  size_t end;
  /// 1 / (fixed-point scale · examples).
  float gradient_scale;
  /// 2 λ₂.
  float decay;
  /// λ₁.
  float l1;
  /// Elements of a row, whose norm the update limits; 0 for no limit.
  size_t row;
} descent_block;

typedef struct descent_update {
  descent_optimizer optimizer;
  float learning_rate;
  /// Of the first and second vector of the optimizer's state.
  descent_average first, second;
  /// Added to a root that is divided by.
  float epsilon;
  /// c: after the update a row with ‖w‖₂ > c is multiplied by c / ‖w‖₂.
  float max_norm;
  /// All blocks of the parameters.
  const descent_block *blocks;
} descent_update;

/// Elements of a chunk of the parameters, over which the squares of a gradient are added: ‖g‖ is defined by chunks, so
/// that its bits do not depend on how the parameters are split in ranges.
enum { DESCENT_NORM_CHUNK = 2048 };

/// The memory one thread works in. Serves every variant.
typedef struct descent_workspace descent_workspace;

/// For a model of `layers` layers; `units` [layers + 1] are the D inputs, the units of every hidden layer, and the K classes,
/// at least 1 each. The slope of leaky ReLU or α of ELU is the `parameter`.
/// `capacity`: the most examples of one gradient; `mean` [D]: the mean image in pixel units (0…255), copied. NULL if memory is
/// short.
///
/// About a megabyte for the linear classifier of CIFAR-10. Others work on up to 512 examples at a time and need some 12
/// bytes for each example of these and each unit, half a megabyte, and, where a shard may have more examples than these,
/// the parameters' size.
descent_workspace *descent_workspace_create(
  const size_t *units, size_t layers, descent_activation activation, float parameter, size_t capacity,
  const float *mean);
void descent_workspace_destroy(descent_workspace *workspace);

/// How far two examples are from each other, over their pixel bytes.
typedef enum descent_distance {
  /// Σ |a − b|.
  DESCENT_L1 = 1,
  /// Σ (a − b)².
  DESCENT_SQUARED_L2 = 2,
} descent_distance;

/// The half megabyte in which one thread computes distances. Serves every variant.
typedef struct descent_distance_memory descent_distance_memory;

/// NULL if memory is short.
descent_distance_memory *descent_distance_memory_create(void);
void descent_distance_memory_destroy(descent_distance_memory *memory);

// MARK: Kernels

/// The kernels compiled for one instruction set.
typedef struct descent_kernel {
  /// Gradient of the data loss, summed over shards of `examples_per_shard` examples each, in fixed point.
  ///
  /// Example i of shard s is `records[s * examples_per_shard + i]`; all of them together are at most the
  /// workspace's capacity. Each shard's gradient is a float chain over its examples in order, rounded to
  /// nearest even at the block's scale, and only then added: integers are associative, so any
  /// partition of the shards over workers and any order of arrival gives the same sum.
  /// `margin` is Δ of the hinge losses. `dropout`: NULL for none; linear models have none. `scales` [2 · layers]: units of
  /// the sum in 1 for each layer's weights and bias, powers of two. `sum` [parameters] is overwritten.
  ///
  /// `peaks` [2 · layers]: the largest element that any one shard's gradient has, for each block: |x| · 2^−bits is in
  /// [½, 1), x in units of the scale and not yet rounded; INT8_MIN if all are zero, INT8_MAX from 2^126 on and for what is
  /// not a number. It may be NULL if it is known that every shard's elements and the sum fit in an int32. Otherwise
  /// elements that do not count as −2^31, and the sum wraps: `peaks` tells.
  void (*gradient)(
    descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t shards,
    size_t examples_per_shard, descent_loss loss, float margin, const descent_dropout *dropout, const float *scales,
    int32_t *sum, descent_statistics *statistics, int8_t *peaks);

  /// Losses and predictions of any number of examples. `parameters` may be NULL to use those of the workspace's
  /// previous call, which must exist and be unchanged. `confusion` [K, K] gains one at [label, prediction] each.
  void (*evaluate)(
    descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t count,
    descent_loss loss, float margin, int64_t *confusion, descent_statistics *statistics);

  /// Scores [count, K] of any number of examples.
  void (*scores)(
    descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t count,
    float *scores);

  /// The loss of given scores [count, classes] and its derivative by each score: `coefficients` [count, classes].
  void (*loss_gradient)(
    descent_loss loss, float margin, size_t classes, const float *scores, const uint8_t *labels, size_t count,
    float *coefficients, descent_statistics *statistics);

  /// Softmax of given scores [count, classes] into `probabilities` [count, classes], which may be the same memory.
  void (*softmax)(const float *scores, size_t count, size_t classes, float *probabilities);

  /// The activation of each z and its derivative there.
  void (*activate)(
    descent_activation activation, float parameter, const float *z, float *values, float *derivatives, size_t count);

  /// e^x for x ≤ 0 (0 below −87.3) and log x for normal x > 0, element by element, as the losses use them.
  /// Largest error against libm in double precision: 1.01 units in the last place for e^x on −87.3…0, 0.80 for log x
  /// on 1…10.
  void (*exp)(const float *x, float *result, size_t count);
  void (*log)(const float *x, float *result, size_t count);

  /// Applies one summed gradient, `sum` plus `addend` (which may be NULL), to `parameters` and to the vectors of the
  /// optimizer's state, `first` and `second` (NULL where it has fewer), and writes the new parameters to `copy` as well (which may
  /// be NULL): one pass over what would be three. All are [count], those from parameter `begin` on: `begin` begins a chunk, the
  /// range ends with a chunk or the parameters, and cuts no row whose norm is limited. `sum` and `addend` hold int32 at any
  /// alignment, and their sum wraps.
  /// Sets `squares`, [chunks, 16], to Σ g² in double of every chunk, element i in lane i mod 16.
  /// The squares of a row are added in double as well, element j in lane j mod 16, and the lanes in the fixed tree.
  void (*apply)(
    const descent_update *update, size_t begin, size_t count, const void *sum, const void *addend, float *parameters,
    float *first, float *second, float *copy, double *squares);

  /// `sum[i] = a[i] + b[i]`, wrapping. `a` and `b` may lie at any alignment, and `a` may be `sum`.
  void (*add_int32)(int32_t *sum, const void *a, const void *b, size_t count);

  /// Σ a² of int32 at any alignment, in single precision: to about 1 part in 10,000 for up to 100,000 elements. Over 64
  /// lanes, by multiplication and addition, and the fixed tree (32+32, 16+16, ...).
  double (*squared_norm_int32)(const void *a, size_t count);

  /// Distances of up to `DESCENT_DISTANCE_QUERIES` queries to other examples, of D = `pixels` bytes each, any number:
  /// [query_count, example_count]. The label byte of a record is not read.
  void (*distances)(
    descent_distance kind, descent_distance_memory *memory, const uint8_t *const *queries, size_t query_count,
    const uint8_t *const *examples, size_t example_count, size_t pixels, int64_t *distances);

  /// The distance of two records of D = `pixels` bytes.
  int64_t (*distance)(descent_distance kind, const uint8_t *a, const uint8_t *b, size_t pixels);

  /// The averages of the squares of `side` by `side` pixels that a record's planes divide into, rounded to nearest, halves
  /// up: [channels, height / side, width / side] bytes. Rows and columns that fill no square are left out. `side` ≤ 4,096.
  void (*block_averages)(
    const uint8_t *record, size_t width, size_t height, size_t channels, size_t side, uint8_t *averages);

  /// Runs `rounds` rounds of independent fused multiply-adds in registers and returns how many floating-point operations
  /// that was: the peak every other figure is compared with.
  uint64_t (*peak)(uint64_t rounds, float *sink);
} descent_kernel;

/// The kernels of a variant; NULL if this build or this processor lacks it, which is never so for `DESCENT_PORTABLE`.
const descent_kernel *descent_kernel_find(descent_variant variant);

// MARK: Caches

/// Asks for `count` bytes to be in the second-level cache soon. Reads nothing, so any address will do.
static inline void descent_prefetch(const void *bytes, size_t count) {
  for (size_t offset = 0; offset < count + 63; offset += 64) __builtin_prefetch((const char *)bytes + offset, 0, 2);
}

// MARK: Checksum

/// CRC-32C (Castagnoli) of `count` bytes following those whose checksum is `seed` (0 to start).
uint32_t descent_crc32c(uint32_t seed, const void *bytes, size_t count);

/// The way `descent_crc32c` computes on this processor: "avx512", "avx2", "sse4.2", "armv8" or "table".
const char *descent_crc32c_name(void);

#endif
