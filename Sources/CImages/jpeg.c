#include "shim.h"

#include <jerror.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

/// The most pixels that the scans of one picture may pass over, all together: a small file can hold thousands of scans
/// that change nothing. The largest picture that is read may have some 30 scans, a usual photograph hundreds.
#define LARGEST_SCAN_SUM ((uint64_t)1 << 31)

typedef struct jpeg_decoder {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  struct jpeg_source_mgr source;
  struct jpeg_progress_mgr progress;
  jmp_buf failed;
  descent_picture *picture;
  /// The file ended without an end marker.
  bool is_open_ended;
  /// All rows are decoded: what follows does no harm.
  bool is_complete;
  /// A bit for each component that a scan has had.
  uint32_t components_seen;
  uint64_t scan_sum;
} jpeg_decoder;

static void note(j_common_ptr jpeg, char *text) {
  char message[JMSG_LENGTH_MAX];
  jpeg->err->format_message(jpeg, message);
  snprintf(text, sizeof((descent_picture *)0)->failure, "%s", message);
}

static void picture_failed(j_common_ptr jpeg) {
  jpeg_decoder *decoder = jpeg->client_data;
  note(jpeg, decoder->is_complete ? decoder->picture->warning : decoder->picture->failure);
  switch (jpeg->err->msg_code) {
  case JERR_SOF_UNSUPPORTED:
  case JERR_BAD_PRECISION:
  case JERR_CONVERSION_NOTIMPL:
  case JERR_COMPONENT_COUNT:
  case JERR_ARITH_NOTIMPL: decoder->picture->is_unsupported = true;
  }
  longjmp(decoder->failed, 1);
}

/// libjpeg warns of whatever it can work around. What leaves all pixels as they were coded is harmless; the rest means
/// that data of the picture are damaged or missing.
static void picture_is_odd(j_common_ptr jpeg, int level) {
  if (level >= 0) return;
  jpeg_decoder *decoder = jpeg->client_data;
  switch (jpeg->err->msg_code) {
  case JWRN_EXTRANEOUS_DATA:
  case JWRN_NOT_SEQUENTIAL:
  case JWRN_JFIF_MAJOR:
  case JWRN_ADOBE_XFORM:
  case JWRN_BOGUS_PROGRESSION:
  // Where a piece between two restart markers is lost, another warning follows.
  case JWRN_MUST_RESYNC:
    if (!decoder->picture->warning[0]) note(jpeg, decoder->picture->warning);
    return;
  default:
    picture_failed(jpeg);  // defence: picture-data
  }
}

static void say_nothing(j_common_ptr jpeg) { (void)jpeg; }

static void do_nothing(j_decompress_ptr jpeg) { (void)jpeg; }

/// At the end of the file libjpeg is given an end marker: where picture data are missing before it, it says so.
static boolean end_file(j_decompress_ptr jpeg) {
  static const JOCTET end[] = {0xff, JPEG_EOI};
  ((jpeg_decoder *)jpeg->client_data)->is_open_ended = true;
  jpeg->src->next_input_byte = end;
  jpeg->src->bytes_in_buffer = sizeof end;
  return TRUE;
}

static void skip(j_decompress_ptr jpeg, long count) {
  if (count <= 0) return;
  if ((size_t)count > jpeg->src->bytes_in_buffer) {
    end_file(jpeg);
  } else {
    jpeg->src->next_input_byte += count;
    jpeg->src->bytes_in_buffer -= (size_t)count;
  }
}

static void give_up(jpeg_decoder *decoder, const char *reason) {
  snprintf(decoder->picture->failure, sizeof decoder->picture->failure, "%s", reason);
  longjmp(decoder->failed, 1);
}

/// Called at every row of blocks of a scan.
static void watch_scan(j_common_ptr common) {
  jpeg_decoder *decoder = common->client_data;
  const j_decompress_ptr jpeg = &decoder->jpeg;
  for (int i = 0; i < jpeg->comps_in_scan; i++)
    decoder->components_seen |= UINT32_C(1) << jpeg->cur_comp_info[i]->component_index;
  decoder->scan_sum += (uint64_t)jpeg->image_width * DCTSIZE;
  if (decoder->scan_sum > LARGEST_SCAN_SUM) {
    give_up(decoder, "more scans than any picture needs, over 2,147,483,648 pixels together");  // defence: picture-scans
  }
}

bool descent_jpeg_open(descent_picture *picture, const uint8_t *bytes, size_t count) {
  *picture = (descent_picture){.channels = 3};
  jpeg_decoder *decoder = calloc(1, sizeof *decoder);
  if (!decoder) return false;
  picture->decoder = decoder;
  decoder->picture = picture;
  const j_decompress_ptr jpeg = &decoder->jpeg;
  jpeg->err = jpeg_std_error(&decoder->errors);
  decoder->errors.error_exit = picture_failed;
  decoder->errors.emit_message = picture_is_odd;
  decoder->errors.output_message = say_nothing;
  jpeg->client_data = decoder;
  if (setjmp(decoder->failed)) return false;
  jpeg_create_decompress(jpeg);
  decoder->source = (struct jpeg_source_mgr){
    .next_input_byte = bytes, .bytes_in_buffer = count, .init_source = do_nothing, .fill_input_buffer = end_file,
    .skip_input_data = skip, .resync_to_restart = jpeg_resync_to_restart, .term_source = do_nothing};
  jpeg->src = &decoder->source;
  decoder->progress.progress_monitor = watch_scan;
  jpeg->progress = &decoder->progress;
  jpeg_read_header(jpeg, TRUE);
  const bool has_ink = jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK;
  jpeg->out_color_space = has_ink ? JCS_CMYK : JCS_RGB;
  picture->width = jpeg->image_width;
  picture->height = jpeg->image_height;
  return true;
}

/// Whether every component had a scan and, where the file ends without an end marker, nothing can have followed.
static void check_scans(jpeg_decoder *decoder) {
  const j_decompress_ptr jpeg = &decoder->jpeg;
  if (decoder->components_seen + 1 != UINT32_C(1) << jpeg->num_components)
    give_up(decoder, "a colour is missing");
  if (!decoder->is_open_ended) return;
  // An arithmetic decoder cannot tell the end of its data from missing ones.
  if (jpeg->arith_code) give_up(decoder, "the file ends before the picture does");
  if (!jpeg->progressive_mode) return;
  for (int component = 0; component < jpeg->num_components; component++)
    for (int i = 0; i < DCTSIZE2; i++)
      if (jpeg->coef_bits[component][i] != 0) give_up(decoder, "the file ends before the picture does");
}

/// One row of a picture in printing colours, which are stored inverted: 255 is no ink. Red is what cyan and black leave.
static void mix_inks(const JSAMPLE *inks, uint8_t *pixels, size_t width) {
  for (size_t x = 0; x < width; x++, inks += 4, pixels += 3)
    for (int k = 0; k < 3; k++) pixels[k] = (uint8_t)((inks[k] * inks[3] + 127) / 255);
}

bool descent_jpeg_read(descent_picture *picture, uint8_t *pixels) {
  jpeg_decoder *decoder = picture->decoder;
  const j_decompress_ptr jpeg = &decoder->jpeg;
  // Whatever happens after the last row.
  if (setjmp(decoder->failed)) return decoder->is_complete;
  jpeg_start_decompress(jpeg);
  const size_t width = picture->width;
  const JSAMPARRAY inks = jpeg->out_color_space == JCS_CMYK
    ? jpeg->mem->alloc_sarray((j_common_ptr)jpeg, JPOOL_IMAGE, (JDIMENSION)width * 4, 1) : NULL;
  while (jpeg->output_scanline < jpeg->output_height) {
    uint8_t *row = pixels + (size_t)jpeg->output_scanline * width * 3;
    JSAMPROW target = inks ? inks[0] : row;
    jpeg_read_scanlines(jpeg, &target, 1);
    if (inks) mix_inks(inks[0], row, width);
  }
  check_scans(decoder);
  decoder->is_complete = true;
  jpeg_finish_decompress(jpeg);
  if (decoder->is_open_ended && !picture->warning[0])
    snprintf(picture->warning, sizeof picture->warning, "the file has no end marker");
  return true;
}

void descent_jpeg_close(descent_picture *picture) {
  jpeg_decoder *decoder = picture->decoder;
  if (!decoder) return;
  jpeg_destroy_decompress(&decoder->jpeg);
  free(decoder);
  picture->decoder = NULL;
}

#define TEXT_OF(value) #value
#define EXPANDED_TEXT_OF(value) TEXT_OF(value)

const char *descent_jpeg_version(void) {
#ifdef LIBJPEG_TURBO_VERSION
  return "libjpeg-turbo " EXPANDED_TEXT_OF(LIBJPEG_TURBO_VERSION);
#else
  return "libjpeg " EXPANDED_TEXT_OF(JPEG_LIB_VERSION);
#endif
}
