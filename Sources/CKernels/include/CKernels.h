/// The hot loops of Descent: scores, gradient, update, integer sums and checksums.
///
/// Shapes are those of CIFAR-10 and known to the compiler: K = 10 classes, D = 3072 pixels. Parameters are one
/// flat float vector: `weight` [K, D] row-major at 0, then `bias` [K] at K·D. A record is a label byte
/// followed by D pixel bytes, at any alignment, and is read where it lies.
///
/// Every function gives the same bits in every variant (AVX-512, AVX2, portable): sums run over 16 lanes, lane l
/// takes the elements j ≡ l (mod 16) in rising j by fused multiply-add, and lanes meet in one fixed tree
/// (8+8, 4+4, 2+2, 1+1). Nothing here allocates except `descent_workspace_create`.
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
  /// Weston–Watkins: Σ_{j≠y} max(0, s_j − s_y + 1).
  DESCENT_LOSS_HINGE = 2,
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

typedef enum descent_momentum {
  DESCENT_MOMENTUM_NONE = 0,
  /// v = μ v + g; w −= rate · v.
  DESCENT_MOMENTUM_POLYAK = 1,
  /// v = μ v + g; w −= rate · (g + μ v).
  DESCENT_MOMENTUM_NESTEROV = 2,
} descent_momentum;

/// g = q · gradient_scale + decay · w, with no decay on the bias.
typedef struct descent_update {
  /// 1 / (fixed-point scale · examples).
  float gradient_scale;
  /// 2 λ.
  float decay;
  float learning_rate;
  float momentum;
  descent_momentum kind;
} descent_update;

/// Elements of a chunk of the parameters, over which the squares of a gradient are added: ‖g‖ is defined by chunks, so
/// that its bits do not depend on how the parameters are split in ranges.
enum { DESCENT_NORM_CHUNK = 2048 };

/// The memory one thread works in, about a megabyte: folded weights, converted pixels of a few examples, and the
/// coefficients of up to `capacity` examples. Serves every variant.
typedef struct descent_workspace descent_workspace;

/// `mean` [D]: the mean image in pixel units (0…255), copied. NULL if memory is short.
descent_workspace *descent_workspace_create(size_t capacity, const float *mean);
void descent_workspace_destroy(descent_workspace *workspace);

// MARK: Kernels

/// The kernels compiled for one instruction set.
typedef struct descent_kernel {
  /// Gradient of the data loss, summed over shards of `examples_per_shard` examples each, in fixed point.
  ///
  /// Example i of shard s is `records[s * examples_per_shard + i]`; all of them together are at most the
  /// workspace's capacity. Each shard's gradient is a float chain over its examples in order, rounded to
  /// nearest even at `fixed_point_scale` (a power of two), and only then added: integers are associative, so any
  /// partition of the shards over workers and any order of arrival gives the same sum.
  /// `sum` [DESCENT_PARAMETERS] is overwritten. Input is (pixel − mean) / 127.5.
  void (*gradient)(
    descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t shards,
    size_t examples_per_shard, descent_loss loss, float fixed_point_scale, int32_t *sum,
    descent_statistics *statistics);

  /// Losses and predictions of any number of examples. `parameters` may be NULL to reuse those of the workspace's
  /// previous call, which must exist. `confusion` [K, K] gains one at [label, prediction] each.
  void (*evaluate)(
    descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t count,
    descent_loss loss, int64_t *confusion, descent_statistics *statistics);

  /// Scores [count, K] of any number of examples.
  void (*scores)(
    descent_workspace *workspace, const float *parameters, const uint8_t *const *records, size_t count,
    float *scores);

  /// The loss of given scores [count, K] and its derivative by each score: `coefficients` [count, K].
  void (*loss_gradient)(
    descent_loss loss, const float *scores, const uint8_t *labels, size_t count, float *coefficients,
    descent_statistics *statistics);

  /// Softmax of given scores [count, K] into `probabilities` [count, K].
  void (*softmax)(const float *scores, size_t count, float *probabilities);

  /// e^x for x ≤ 0 (0 below −87.3) and log x for normal x > 0, element by element, as the losses use them.
  /// Largest error against libm in double precision: 1.01 units in the last place for e^x on −87.3…0, 0.80 for log x
  /// on 1…10.
  void (*exp)(const float *x, float *result, size_t count);
  void (*log)(const float *x, float *result, size_t count);

  /// Applies one summed gradient, `sum` plus `addend` (which may be NULL), to `parameters` and, with momentum, `velocity`
  /// (otherwise unused, may be NULL), and writes the new parameters to `copy` as well (which may be NULL): one pass over
  /// what would be three. All are [count], those from parameter `first` on: `first` begins a chunk, and the range ends
  /// with a chunk or the parameters. `sum` and `addend` hold int32 at any alignment, and their sum wraps.
  /// Sets `squares`, [chunks, 16], to Σ g² in double of every chunk, element i in lane i mod 16.
  void (*apply)(
    const descent_update *update, size_t first, size_t count, const void *sum, const void *addend, float *parameters,
    float *velocity, float *copy, double *squares);

  /// `sum[i] = a[i] + b[i]`, wrapping. `a` and `b` may lie at any alignment, and `a` may be `sum`.
  void (*add_int32)(int32_t *sum, const void *a, const void *b, size_t count);

  /// Σ a² of int32 at any alignment, in single precision: to about 1 part in 10,000 for up to 100,000 elements. Over 64
  /// lanes, by multiplication and addition, and the fixed tree (32+32, 16+16, ...).
  double (*squared_norm_int32)(const void *a, size_t count);

  /// Runs `rounds` rounds of independent fused multiply-adds in registers and returns how many floating-point operations
  /// that was: the peak every other figure is compared with.
  uint64_t (*peak)(uint64_t rounds, float *sink);
} descent_kernel;

/// The kernels of a variant; NULL if this build or this processor lacks it, which is never so for `DESCENT_PORTABLE`.
const descent_kernel *descent_kernel_find(descent_variant variant);

// MARK: Checksum

/// CRC-32C (Castagnoli) of `count` bytes following those whose checksum is `seed` (0 to start).
uint32_t descent_crc32c(uint32_t seed, const void *bytes, size_t count);

/// The way `descent_crc32c` computes on this processor: "avx512", "sse4.2", "armv8" or "table".
const char *descent_crc32c_name(void);

#endif
