import Diagnostics
import Glibc

/// What TensorBoard reads: a record of an event file (event.proto and summary.proto of TensorFlow).
package struct Event: Sendable {
  package enum Content: Sendable {
    /// The first record of a file.
    case fileVersion
    /// A start of the training: what readers have of this step and later ones is void.
    case start
    case summary([SummaryValue])
  }

  package var time: UTCTime
  package var step: UInt64
  package var content: Content

  package init(at time: UTCTime, step: UInt64, _ content: Content) {
    (self.time, self.step, self.content) = (time, step, content)
  }

  package var record: [UInt8] {
    var message = ProtocolBuffer()
    message.double(1, time.seconds)
    if step > 0 { message.integer(2, step) }
    switch content {
    case .fileVersion: message.string(3, "brain.Event:2")
    case .start: message.message(7) { $0.integer(1, 1) }
    case .summary(let values):
      message.message(5) { summary in
        for value in values { summary.message(1) { value.append(to: &$0) } }
      }
    }
    return EventRecord.framed(message.bytes)
  }
}

extension UTCTime {
  package var seconds: Double { Double(microseconds) / 1e6 }
}

/// A value under a tag, and what shows it.
package struct SummaryValue: Sendable {
  package enum Content: Sendable {
    case scalar(Double)
    /// A PNG of red, green and blue.
    case image(width: Int, height: Int, png: [UInt8])
    case histogram(Histogram)
    /// In Markdown.
    case text(String)
    case hyperparameters(Hyperparameters)
  }

  package var tag: String
  package var content: Content

  package init(_ tag: String, _ content: Content) { (self.tag, self.content) = (tag, content) }

  fileprivate func append(to value: inout ProtocolBuffer) {
    value.string(1, tag)
    switch content {
    case .scalar(let number): value.float(2, Float(number))
    case .image(let width, let height, let png):
      value.message(4) { image in
        image.integer(1, UInt64(height))
        image.integer(2, UInt64(width))
        image.integer(3, 3)
        image.data(4, png)
      }
    case .histogram(let histogram): value.message(5) { histogram.append(to: &$0) }
    case .text(let text):
      value.message(8) { tensor in
        tensor.integer(1, 7)
        tensor.message(2) { $0.message(2) { $0.integer(1, 1) } }
        tensor.string(8, text)
      }
      value.message(9) { $0.message(1) { $0.string(1, "text") } }
    case .hyperparameters(let hyperparameters):
      value.message(8) { tensor in
        tensor.integer(1, 1)
        tensor.message(2) { $0.message(2) { $0.integer(1, 0) } }
      }
      value.message(9) { metadata in
        metadata.message(1) { plugin in
          plugin.string(1, "hparams")
          plugin.message(2) { hyperparameters.append(to: &$0) }
        }
      }
    }
  }
}

/// How often numbers are in each of thirty intervals of equal width.
package struct Histogram: Sendable, Equatable {
  package static let intervalCount = 30

  package private(set) var least: Double
  package private(set) var greatest: Double
  package private(set) var sum = 0.0
  package private(set) var sumOfSquares = 0.0
  /// Of the intervals from the least number to the greatest; one interval where they are the same.
  package private(set) var counts: [Int]

  package var count: Int { counts.reduce(0, +) }

  /// Of the finite ones among the numbers; nil where there are none.
  package init?(of values: ArraySlice<Float>) {
    var (least, greatest) = (Float.infinity, -Float.infinity)
    for value in values where value.isFinite {
      least = min(least, value)
      greatest = max(greatest, value)
    }
    guard least <= greatest else { return nil }
    (self.least, self.greatest) = (Double(least), Double(greatest))
    let width = (self.greatest - self.least) / Double(Self.intervalCount)
    var counts = [Int](repeating: 0, count: width > 0 ? Self.intervalCount : 1)
    for value in values where value.isFinite {
      let number = Double(value)
      sum += number
      sumOfSquares += number * number
      counts[width > 0 ? min(Int((number - self.least) / width), Self.intervalCount - 1) : 0] += 1
    }
    self.counts = counts
  }

  /// Where each interval ends.
  package var limits: [Double] {
    let width = (greatest - least) / Double(counts.count)
    return (1..<counts.count).map { least + width * Double($0) } + [greatest]
  }

  fileprivate func append(to histogram: inout ProtocolBuffer) {
    histogram.double(1, least)
    histogram.double(2, greatest)
    histogram.double(3, Double(count))
    histogram.double(4, sum)
    histogram.double(5, sumOfSquares)
    histogram.doubles(6, limits)
    histogram.doubles(7, counts.map(Double.init))
  }
}

/// What the HPARAMS page of TensorBoard compares runs by (plugin_data.proto and api.proto of its plugin). The tag of each is
/// the one that the plugin looks for.
package enum Hyperparameters: Sendable {
  package enum Value: Sendable, Equatable {
    case number(Double)
    case text(String)
  }

  /// Which settings and metrics there are: the columns.
  case experiment(settings: [(name: String, isNumber: Bool)], metrics: [String])
  case start([(name: String, value: Value)], at: UTCTime)
  case end(isSuccess: Bool, at: UTCTime)

  /// Tags of the plugin begin with this.
  package static let tagPrefix = "_hparams_/"

  package var value: SummaryValue {
    let name =
      switch self {
      case .experiment: "experiment"
      case .start: "session_start_info"
      case .end: "session_end_info"
      }
    return SummaryValue(Self.tagPrefix + name, .hyperparameters(self))
  }

  fileprivate func append(to data: inout ProtocolBuffer) {
    switch self {
    case .experiment(let settings, let metrics):
      data.message(2) { experiment in
        for setting in settings {
          experiment.message(4) { information in
            information.string(1, setting.name)
            information.integer(4, setting.isNumber ? 3 : 1)
          }
        }
        for metric in metrics {
          experiment.message(5) { $0.message(1) { $0.string(2, metric) } }
        }
      }
    case .start(let values, let time):
      data.message(3) { start in
        for (name, value) in values {
          start.message(1) { entry in
            entry.string(1, name)
            entry.message(2) { value.append(to: &$0) }
          }
        }
        start.double(5, time.seconds)
      }
    case .end(let isSuccess, let time):
      data.message(4) { end in
        end.integer(1, isSuccess ? 1 : 2)
        end.double(2, time.seconds)
      }
    }
  }
}

extension Hyperparameters.Value {
  /// As google.protobuf.Value.
  fileprivate func append(to value: inout ProtocolBuffer) {
    switch self {
    case .number(let number): value.double(2, number)
    case .text(let text): value.string(3, text)
    }
  }
}
