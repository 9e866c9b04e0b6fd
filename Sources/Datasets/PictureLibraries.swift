import CImages

/// The libraries that decode pictures, with their versions.
package enum PictureLibraries {
  /// "libpng 1.6.39", "libjpeg-turbo 2.1.5".
  package static var versions: [String] {
    ["libpng " + String(cString: descent_png_version()), String(cString: descent_jpeg_version())]
  }
}
