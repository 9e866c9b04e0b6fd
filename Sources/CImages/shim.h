/* The two image libraries that `descent predict` reads with: libpng and libjpeg-turbo's TurboJPEG interface. */
#include <png.h>
#include <turbojpeg.h>
