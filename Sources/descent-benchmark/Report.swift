/// What the program prints: a table for people, or one JSON object.
struct Report {
  let kernel: String
  let peak: Timing
  let peakOperations: Double
  var results: [Result] = []

  /// Multiply-adds count two.
  var peakRate: Double { peakOperations / peak.median }

  func table() -> String {
    var lines = [
      "kernel \(kernel), one core, multiply-add peak \(decimals(peakRate * 1e-9, 1)) GFLOP/s "
        + "(the best \(decimals(peakOperations / peak.best * 1e-9, 1)))",
      "",
      row("case", "median", "10 % … 90 %", "rate", "of peak"),
    ]
    for result in results {
      let timing = result.timing
      lines.append(
        row(
          result.name, microseconds(timing.median),
          "\(microseconds(timing.lowDecile)) … \(microseconds(timing.highDecile))",
          "\(decimals(result.rate, 3)) \(result.rateUnit)",
          result.shareOfPeak.map { "\(decimals($0 * 100, 1)) %" } ?? ""))
    }
    return lines.joined(separator: "\n")
  }

  func json() -> String {
    let cases = results.map { result in
      let timing = result.timing
      return """
            {"name": "\(result.name)", "seconds": {"median": \(timing.median), "best": \(timing.best), \
        "p10": \(timing.lowDecile), "p90": \(timing.highDecile)}, "rate": \(result.rate), \
        "rate_unit": "\(result.rateUnit)", "share_of_peak": \(result.shareOfPeak.map { "\($0)" } ?? "null")}
        """
    }
    return """
      {
        "kernel": "\(kernel)",
        "peak_gflops": \(peakRate * 1e-9),
        "cases": [
      \(cases.joined(separator: ",\n"))
        ]
      }
      """
  }

  private func row(_ name: String, _ median: String, _ spread: String, _ rate: String, _ share: String) -> String {
    func pad(_ text: String, _ width: Int) -> String {
      String(repeating: " ", count: max(0, width - text.count)) + text
    }
    return name + String(repeating: " ", count: max(1, 46 - name.count)) + pad(median, 11) + pad(spread, 25)
      + pad(rate, 18) + pad(share, 9)
  }

  private func microseconds(_ seconds: Double) -> String { "\(decimals(seconds * 1e6, 2)) µs" }

  /// `value` with a fixed number of digits after the point, without Foundation.
  private func decimals(_ value: Double, _ digits: Int) -> String {
    let scale = (0..<digits).reduce(1) { product, _ in product * 10 }
    let scaled = Int((value * Double(scale)).rounded())
    let fraction = String(scaled % scale)
    return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
  }
}
