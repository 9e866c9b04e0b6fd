import Diagnostics
import Optimization
import Pictures
import Reporting

extension LossSurface {
  /// The coordinates, and of every slice the data loss and the objective, which has the penalty, at each point.
  package var json: JSONValue {
    func numbers(_ values: [Double]) -> JSONValue { .array(values.map { .measurement($0) }) }
    func rows(_ values: [Double]) -> JSONValue {
      let side = coordinates.count
      return .array((0..<side).map { numbers(Array(values[$0 * side..<($0 + 1) * side])) })
    }
    return [
      "loss_function": .string(loss.settingName), "model": .string(model), "along": .string(direction.rawValue),
      "l2": .number("\(l2)"), "seed": .number(seed), "gradient_norm": .measurement(gradientNorm),
      "line_coordinates": numbers(lineCoordinates), "plane_coordinates": numbers(coordinates),
      "slices": .array(
        slices.map { slice in
          [
            "examples": .number(slice.examples),
            "line": [
              "data_loss": numbers(slice.line), "objective": numbers(sum(slice.line, linePenalty)),
              "kinks": slice.kinks.map(numbers) ?? .null,
            ],
            "plane": [
              "data_loss": rows(slice.plane), "objective": rows(sum(slice.plane, planePenalty)),
            ],
          ]
        }),
    ]
  }

  private func sum(_ losses: [Double], _ penalties: [Double]) -> [Double] { zip(losses, penalties).map { $0 + $1 } }

  /// Of each slice the data loss at W, and where on the line and the plane it is lowest.
  public var text: String {
    let rows = slices.map { slice in
      let objective = sum(slice.line, linePenalty)
      let (line, plane) = (lowest(slice.line), lowest(slice.plane))
      let side = coordinates.count
      return [
        grouped(UInt64(slice.examples)), Display.decimal(slice.line[slice.line.count / 2], places: 4),
        Display.decimal(objective[objective.count / 2], places: 4),
        line.map { "\(Display.decimal(slice.line[$0], places: 4)) at \(place(lineCoordinates[$0]))" } ?? "-",
        plane.map {
          "\(Display.decimal(slice.plane[$0], places: 4)) at \(place(coordinates[$0 % side])), "
            + place(coordinates[$0 / side])
        } ?? "-", slice.kinks.map { "\($0.count)" } ?? "-",
      ]
    }
    let norm = gradientNorm.map { ", gradient norm \(Display.decimal($0, places: 4))" } ?? ""
    return "\(loss.settingName), \(model), along \(directionPhrase)\(norm)\n"
      + table(
        [["examples", "loss at W", "with L2", "lowest on the line, at a", "lowest on the plane, at a, b", "kinks"]]
          + rows)
  }

  private func place(_ coordinate: Double) -> String { Display.decimal(coordinate, places: 2) }

  private func lowest(_ losses: [Double]) -> Int? {
    losses.indices.filter { !losses[$0].isNaN }.min { losses[$0] < losses[$1] }
  }

  private var directionPhrase: String {
    switch direction {
    case .random: "a random direction"
    case .gradient: "the negative gradient over all examples"
    }
  }

  /// A line and a heat map for each number of examples.
  public var figure: Figure {
    let lines = slices.map { slice in
      var series = [
        Series("data loss", .line, points: points(slice.line)),
        Series("with L2, λ = \(l2)", .line, points: points(sum(slice.line, linePenalty))),
      ]
      if l2 == 0 { series.removeLast() }
      if let kinks = slice.kinks {
        series.append(Series("kinks", .points, points: kinks.map { Point($0, value(of: slice, at: $0)) }))
      }
      return Panel.chart(
        Chart(title(slice), x: Axis("a"), y: Axis("loss"), series: series))
    }
    let planes = slices.map { slice in
      Panel.heatMap(
        HeatMap(
          title(slice), x: Axis("a", range: -range...range), y: Axis("b", range: -range...range),
          columns: coordinates.count, values: slice.plane, valueLabel: "data loss",
          overlay: [Series("W", .points, points: [Point(0, 0)])]))
    }
    return Figure(
      "The \(loss.settingName) loss along slices W + a W₁ + b W₂",
      caption: """
        \(model) model, the first examples of the training set. W₁ is \(directionPhrase), W₂ a random direction, both of \
        length 1. Above b = 0; below the plane, data loss only.
        """, columns: slices.count, panels: lines + planes)
  }

  private func title(_ slice: Slice) -> String {
    slice.examples == 1 ? "1 example" : "\(grouped(UInt64(slice.examples))) examples"
  }

  private func points(_ losses: [Double]) -> [Point] {
    zip(lineCoordinates, losses).filter { !$0.1.isNaN }.map { Point($0.0, $0.1) }
  }

  /// The data loss of the line at any a, between two points on the straight line through them.
  private func value(of slice: Slice, at a: Double) -> Double {
    let position = (a + range) / (2 * range) * Double(lineCoordinates.count - 1)
    let left = min(Int(position), lineCoordinates.count - 2)
    let share = position - Double(left)
    return slice.line[left] * (1 - share) + slice.line[left + 1] * share
  }
}
