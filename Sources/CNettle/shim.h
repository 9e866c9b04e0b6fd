#include <nettle/sha2.h>
#include <nettle/version.h>

/// Writes the SHA256_DIGEST_SIZE bytes of a digest. From its version 4 on Nettle's function has no length.
static inline void descent_sha256_digest(struct sha256_ctx *context, uint8_t *digest) {
#if NETTLE_VERSION_MAJOR < 4
  sha256_digest(context, SHA256_DIGEST_SIZE, digest);
#else
  sha256_digest(context, digest);
#endif
}
