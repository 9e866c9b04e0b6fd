/// CRC-32C (Castagnoli, as in RFC 3720), bits reflected.
///
/// A message is a polynomial over GF(2) and its checksum a remainder modulo P. Folding moves 16 bytes of it forward
/// by D bits without changing the remainder: two carry-less products with x^(D+31) and x^(D−33) mod P (Gopal et al.,
/// "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ", Intel 2009). The exponents are D + 64 and D less
/// the 32 of the final reduction and the one bit that a reflected product is short.
#include "CKernels.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

typedef uint32_t checksum(uint32_t crc, const uint8_t *bytes, size_t count);

// MARK: Table

static uint32_t checksum_by_table(uint32_t crc, const uint8_t *bytes, size_t count) {
  // The remainder of each half byte; 64 bytes of table need no initialization at run time.
  static const uint32_t table[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
  };
  while (count--) {
    crc ^= *bytes++;
    crc = (crc >> 4) ^ table[crc & 15];
    crc = (crc >> 4) ^ table[crc & 15];
  }
  return crc;
}

#if defined(__x86_64__)

// MARK: SSE4.2

#define SSE42 __attribute__((target("sse4.2,pclmul")))

SSE42 static inline uint32_t checksum_word(uint32_t crc, const uint8_t *bytes) {
  uint64_t word;
  memcpy(&word, bytes, sizeof word);
  return (uint32_t)_mm_crc32_u64(crc, word);
}

SSE42 static uint32_t checksum_serially(uint32_t crc, const uint8_t *bytes, size_t count) {
  for (; count >= 8; count -= 8, bytes += 8) crc = checksum_word(crc, bytes);
  while (count--) crc = _mm_crc32_u8(crc, *bytes++);
  return crc;
}

/// The instruction takes three cycles and can start every cycle: three parts of 1 kB at once, joined by moving the
/// first two over what follows them.
SSE42 static uint32_t checksum_by_sse42(uint32_t crc, const uint8_t *bytes, size_t count) {
  enum { PART = 1024 };
  const __m128i over_one_part = _mm_cvtsi64_si128(0x170076fa);   // x^(8·1024 − 33)
  const __m128i over_two_parts = _mm_cvtsi64_si128(0xa51b6135);  // x^(16·1024 − 33)
  for (; count >= 3 * PART; count -= 3 * PART, bytes += 3 * PART) {
    uint32_t second = 0, third = 0;
    for (size_t i = 0; i < PART - 8; i += 8) {
      crc = checksum_word(crc, bytes + i);
      second = checksum_word(second, bytes + PART + i);
      third = checksum_word(third, bytes + 2 * PART + i);
    }
    crc = checksum_word(crc, bytes + PART - 8);
    second = checksum_word(second, bytes + 2 * PART - 8);
    const __m128i moved = _mm_xor_si128(
      _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), over_two_parts, 0),
      _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)second), over_one_part, 0));
    uint64_t last;
    memcpy(&last, bytes + 3 * PART - 8, sizeof last);
    crc = (uint32_t)_mm_crc32_u64(third, last ^ (uint64_t)_mm_cvtsi128_si64(moved));
  }
  return checksum_serially(crc, bytes, count);
}

// MARK: AVX2

#define AVX2 __attribute__((target("avx2,vpclmulqdq,pclmul,sse4.2")))

AVX2 static inline __m256i fold_half(__m256i x, __m256i constants, __m256i next) {
  const __m256i folded = _mm256_xor_si256(
    _mm256_clmulepi64_epi128(x, constants, 0x00), _mm256_clmulepi64_epi128(x, constants, 0x11));
  return _mm256_xor_si256(folded, next);
}

/// Eight registers of 32 bytes fold over 256 bytes at once, then into one, then into 16 bytes. The instruction of SSE4.2
/// starts every third cycle only on AMD's processors.
AVX2 static uint32_t checksum_by_avx2(uint32_t crc, const uint8_t *bytes, size_t count) {
  if (count < 256) return checksum_serially(crc, bytes, count);
  __m256i x[8];
#pragma clang loop unroll(full)
  for (int i = 0; i < 8; i++) x[i] = _mm256_loadu_si256((const __m256i *)bytes + i);
  x[0] = _mm256_xor_si256(x[0], _mm256_zextsi128_si256(_mm_cvtsi32_si128((int)crc)));
  bytes += 256, count -= 256;

  const __m256i over_2048 = _mm256_broadcastsi128_si256(_mm_set_epi64x(0xb9e02b86, 0xdcb17aa4));
  for (; count >= 256; count -= 256, bytes += 256) {
#pragma clang loop unroll(full)
    for (int i = 0; i < 8; i++) x[i] = fold_half(x[i], over_2048, _mm256_loadu_si256((const __m256i *)bytes + i));
  }
  const __m256i over_256 = _mm256_broadcastsi128_si256(_mm_set_epi64x(0xba4fc28e, 0x3da6d0cb));
#pragma clang loop unroll(full)
  for (int i = 1; i < 8; i++) x[0] = fold_half(x[0], over_256, x[i]);
  for (; count >= 32; count -= 32, bytes += 32) {
    x[0] = fold_half(x[0], over_256, _mm256_loadu_si256((const __m256i *)bytes));
  }

  const __m128i over_128 = _mm_set_epi64x(0x493c7d27, 0xf20c0dfe), low = _mm256_castsi256_si128(x[0]);
  const __m128i folded =
    _mm_xor_si128(_mm_clmulepi64_si128(low, over_128, 0x00), _mm_clmulepi64_si128(low, over_128, 0x11));
  const __m128i last = _mm_xor_si128(folded, _mm256_extracti128_si256(x[0], 1));
  crc = (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_extract_epi64(last, 0));
  crc = (uint32_t)_mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(last, 1));
  return checksum_serially(crc, bytes, count);
}

// MARK: AVX-512

#define AVX512 __attribute__((target("avx512f,avx512dq,vpclmulqdq,pclmul,sse4.2")))

AVX512 static inline __m512i fold(__m512i x, __m512i constants, __m512i next) {
  return _mm512_ternarylogic_epi64(
    _mm512_clmulepi64_epi128(x, constants, 0x00), _mm512_clmulepi64_epi128(x, constants, 0x11), next, 0x96);
}

AVX512 static inline __m128i fold_quarter(__m128i x, uint64_t low, uint64_t high, __m128i next) {
  const __m128i constants = _mm_set_epi64x((int64_t)high, (int64_t)low);
  const __m128i folded =
    _mm_xor_si128(_mm_clmulepi64_si128(x, constants, 0x00), _mm_clmulepi64_si128(x, constants, 0x11));
  return _mm_xor_si128(folded, next);
}

/// Four registers of 64 bytes fold over 256 bytes at once, then into one, then into 16 bytes.
AVX512 static uint32_t checksum_by_avx512(uint32_t crc, const uint8_t *bytes, size_t count) {
  if (count < 256) return checksum_serially(crc, bytes, count);
  __m512i x0 = _mm512_loadu_si512(bytes), x1 = _mm512_loadu_si512(bytes + 64);
  __m512i x2 = _mm512_loadu_si512(bytes + 128), x3 = _mm512_loadu_si512(bytes + 192);
  x0 = _mm512_xor_si512(x0, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
  bytes += 256, count -= 256;

  const __m512i over_2048 = _mm512_broadcast_i32x4(_mm_set_epi64x(0xb9e02b86, 0xdcb17aa4));
  for (; count >= 256; count -= 256, bytes += 256) {
    x0 = fold(x0, over_2048, _mm512_loadu_si512(bytes));
    x1 = fold(x1, over_2048, _mm512_loadu_si512(bytes + 64));
    x2 = fold(x2, over_2048, _mm512_loadu_si512(bytes + 128));
    x3 = fold(x3, over_2048, _mm512_loadu_si512(bytes + 192));
  }
  const __m512i over_512 = _mm512_broadcast_i32x4(_mm_set_epi64x(0x9e4addf8, 0x740eef02));
  x0 = fold(fold(fold(x0, over_512, x1), over_512, x2), over_512, x3);
  for (; count >= 64; count -= 64, bytes += 64) x0 = fold(x0, over_512, _mm512_loadu_si512(bytes));

  __m128i x = _mm512_extracti64x2_epi64(x0, 3);
  x = fold_quarter(_mm512_extracti64x2_epi64(x0, 0), 0x1c291d04, 0xddc0152b, x);
  x = fold_quarter(_mm512_extracti64x2_epi64(x0, 1), 0x3da6d0cb, 0xba4fc28e, x);
  x = fold_quarter(_mm512_extracti64x2_epi64(x0, 2), 0xf20c0dfe, 0x493c7d27, x);
  crc = (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_extract_epi64(x, 0));
  crc = (uint32_t)_mm_crc32_u64(crc, (uint64_t)_mm_extract_epi64(x, 1));
  return checksum_serially(crc, bytes, count);
}

#elif defined(__aarch64__) && defined(__linux__)

// MARK: ARMv8

__attribute__((target("crc"))) static uint32_t checksum_by_armv8(
  uint32_t crc, const uint8_t *bytes, size_t count
) {
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    crc = __crc32cd(crc, word);
  }
  while (count--) crc = __crc32cb(crc, *bytes++);
  return crc;
}

#endif

// MARK: Choice

typedef struct checksum_variant {
  const char *name;
  checksum *compute;
} checksum_variant;

static const checksum_variant *choose(void) {
#if defined(__x86_64__)
  static const checksum_variant sse42 = {"sse4.2", checksum_by_sse42};
  static const checksum_variant avx2 = {"avx2", checksum_by_avx2};
  static const checksum_variant avx512 = {"avx512", checksum_by_avx512};
  if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul")) {
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")
      && __builtin_cpu_supports("vpclmulqdq");
    const bool half = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("vpclmulqdq");
    return wide ? &avx512 : half ? &avx2 : &sse42;
  }
#elif defined(__aarch64__) && defined(__linux__)
  static const checksum_variant armv8 = {"armv8", checksum_by_armv8};
  enum { HWCAP_CRC32_BIT = 1 << 7 };
  if (getauxval(AT_HWCAP) & HWCAP_CRC32_BIT) return &armv8;
#endif
  static const checksum_variant table = {"table", checksum_by_table};
  return &table;
}

uint32_t descent_crc32c(uint32_t seed, const void *bytes, size_t count) {
  return ~choose()->compute(~seed, bytes, count);
}

const char *descent_crc32c_name(void) { return choose()->name; }
