/* libpng and libjpeg with their errors as return values: both leave a function that fails by longjmp, which Swift cannot
   catch. */
#ifndef DESCENT_IMAGES_SHIM_H
#define DESCENT_IMAGES_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jpeglib.h>
#include <png.h>

/// A picture that is being decoded, and what its decoder says of it.
typedef struct descent_picture {
  uint32_t width, height;
  /// Bytes of one pixel in the memory that the decoder works in: 3, or 4 where alpha is laid over white at the end.
  uint32_t channels;
  /// Coded with another process than those that libjpeg decodes.
  bool is_unsupported;
  /// Why a function failed.
  char failure[256];
  /// What is wrong with a picture that was read in spite of it; empty if nothing is.
  char warning[256];
  /// The decoder's own.
  void *decoder;
} descent_picture;

/// Reads the header. `bytes` must stay until the picture is closed. False with `failure` if there is no picture in them.
/// Close the picture afterwards, whatever the result.
bool descent_png_open(descent_picture *picture, const uint8_t *bytes, size_t count);
bool descent_jpeg_open(descent_picture *picture, const uint8_t *bytes, size_t count);

/// Decodes to 8-bit RGB, row by row: `pixels` has room for width · height · channels bytes, of which the first
/// width · height · 3 are the result. False with `failure` where picture data are damaged or missing.
bool descent_png_read(descent_picture *picture, uint8_t *pixels);
bool descent_jpeg_read(descent_picture *picture, uint8_t *pixels);

/// Of the library that is loaded: "1.6.39".
const char *descent_png_version(void);
/// Of the library that this was compiled with: "libjpeg-turbo 2.1.5", or "libjpeg 9.5".
const char *descent_jpeg_version(void);

void descent_png_close(descent_picture *picture);
void descent_jpeg_close(descent_picture *picture);

#endif
