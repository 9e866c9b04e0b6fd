#include "shim.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/// Gives libpng the chunks that decide the colours of pixels and skips all others: IHDR, PLTE, tRNS and IDAT. So profiles,
/// gamma and texts are neither decompressed nor applied, and errors in them do no harm.
typedef struct png_decoder {
  png_structp png;
  png_infop info;
  const uint8_t *bytes;
  size_t count, position;
  /// The chunk that is being read, and how many of its bytes are left, its checksum included.
  size_t chunk, left;
  /// How many more bytes of the file the next row may take. After the last one libpng decompresses whatever follows, which
  /// may be gigabytes.
  size_t allowance;
} png_decoder;

static uint32_t big_endian(const uint8_t *bytes) {
  return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void picture_failed(png_structp png, png_const_charp message) {
  descent_picture *picture = png_get_error_ptr(png);
  snprintf(picture->failure, sizeof picture->failure, "%s", message);
  png_longjmp(png, 1);
}

static void ignore_warning(png_structp png, png_const_charp message) { (void)png, (void)message; }

/// Moves to the next chunk that libpng is to see.
static void next_chunk(png_structp png, png_decoder *decoder) {
  for (;; decoder->position += decoder->left) {
    const size_t rest = decoder->count - decoder->position;
    if (rest < 12) png_error(png, "the file ends before the picture does");
    const uint8_t *header = decoder->bytes + decoder->position;
    const uint32_t length = big_endian(header);
    if (length > rest - 12) png_error(png, "the file ends inside a chunk");
    decoder->chunk = decoder->position;
    decoder->left = (size_t)length + 12;
    const bool is_ancillary = header[4] & 0x20;
    if (!is_ancillary || memcmp(header + 4, "tRNS", 4) == 0) return;
  }
}

static void read_chunks(png_structp png, png_bytep target, size_t count) {
  png_decoder *decoder = png_get_io_ptr(png);
  if (count > decoder->allowance) {
    png_error(png, "more picture data than the picture needs, by over 65,536 bytes");  // defence: picture-rest
  }
  decoder->allowance -= count < decoder->allowance ? count : decoder->allowance;
  while (count > 0) {
    if (decoder->left == 0) next_chunk(png, decoder);
    const size_t part = count < decoder->left ? count : decoder->left;
    memcpy(target, decoder->bytes + decoder->position, part);
    target += part;
    count -= part;
    decoder->position += part;
    decoder->left -= part;
  }
}

bool descent_png_open(descent_picture *picture, const uint8_t *bytes, size_t count) {
  *picture = (descent_picture){.channels = 3};
  png_decoder *decoder = calloc(1, sizeof *decoder);
  if (!decoder) return false;
  picture->decoder = decoder;
  // The signature has been looked at.
  *decoder = (png_decoder){.bytes = bytes, .count = count, .position = 8, .allowance = SIZE_MAX};
  decoder->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, picture, picture_failed, ignore_warning);
  if (!decoder->png) return false;
  if (setjmp(png_jmpbuf(decoder->png))) return false;
  decoder->info = png_create_info_struct(decoder->png);
  if (!decoder->info) png_error(decoder->png, "no memory");
  png_set_read_fn(decoder->png, decoder, read_chunks);
  png_set_sig_bytes(decoder->png, 8);
  // How many pixels there may be is checked before any is decoded, and only their number counts.
  png_set_user_limits(decoder->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
  png_read_info(decoder->png, decoder->info);
  picture->width = png_get_image_width(decoder->png, decoder->info);
  picture->height = png_get_image_height(decoder->png, decoder->info);
  // The high byte of 16 bits: v · 257 becomes v. Transparent colours have been compared with all 16 before.
  png_set_strip_16(decoder->png);  // defence: picture-depth
  png_set_expand(decoder->png);
  png_set_gray_to_rgb(decoder->png);
  const bool has_alpha = (png_get_color_type(decoder->png, decoder->info) & PNG_COLOR_MASK_ALPHA)
    || png_get_valid(decoder->png, decoder->info, PNG_INFO_tRNS);
  picture->channels = has_alpha ? 4 : 3;
  return true;
}

/// libpng compares the checksum of the last chunk only when it reads past the picture, where a file may hide gigabytes.
static void check_last_chunk(png_structp png, const png_decoder *decoder) {
  if (decoder->left == 0) return;
  const uint8_t *chunk = decoder->bytes + decoder->chunk;
  const uint32_t length = big_endian(chunk);
  if (crc32(crc32(0, Z_NULL, 0), chunk + 4, length + 4) != big_endian(chunk + 8 + length))
    png_error(png, "IDAT: CRC error");
}

/// Lays pixels with alpha over white, as viewers do on a white page: in the values that are stored, rounded to nearest.
static __attribute__((noinline)) void lay_over_white(uint8_t *pixels, size_t count) {
  const uint8_t *source = pixels;
  for (size_t i = 0; i < count; i++, source += 4, pixels += 3) {
    const uint32_t alpha = source[3];
    for (int k = 0; k < 3; k++) pixels[k] = (uint8_t)((source[k] * alpha + 255 * (255 - alpha) + 127) / 255);
  }
}

bool descent_png_read(descent_picture *picture, uint8_t *pixels) {
  png_decoder *decoder = picture->decoder;
  if (setjmp(png_jmpbuf(decoder->png))) return false;
  const int passes = png_set_interlace_handling(decoder->png);
  png_read_update_info(decoder->png, decoder->info);
  const size_t row = (size_t)picture->width * picture->channels;
  if (png_get_rowbytes(decoder->png, decoder->info) != row) png_error(decoder->png, "rows of an unexpected size");
  for (int pass = 0; pass < passes; pass++)
    for (size_t y = 0; y < picture->height; y++) {
      // Of eight bytes a pixel at most, in pieces of one byte and twelve of a chunk around it; and as much again.
      decoder->allowance = (size_t)picture->width * 8 * 26 + 65536;
      png_read_row(decoder->png, pixels + y * row, NULL);
    }
  check_last_chunk(decoder->png, decoder);
  if (picture->channels == 4) {
    lay_over_white(pixels, (size_t)picture->width * picture->height);  // defence: picture-alpha
  }
  return true;
}

void descent_png_close(descent_picture *picture) {
  png_decoder *decoder = picture->decoder;
  if (!decoder) return;
  png_destroy_read_struct(&decoder->png, &decoder->info, NULL);
  free(decoder);
  picture->decoder = NULL;
}

const char *descent_png_version(void) { return png_get_libpng_ver(NULL); }
