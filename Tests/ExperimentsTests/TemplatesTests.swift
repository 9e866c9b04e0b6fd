import Datasets
import Experiments
import Testing

@Suite struct TemplatesTests {
  @Test func `a template's largest weight is white or black, and zero is grey`() throws {
    let shape = InputShape(width: 2, height: 2, channels: 3)
    let weights: [Float] = [0, 2, -2, 1, 0, 0, 0, 0, -1, 0.5, 0, 0]
    let image = Templates.image(of: weights, as: shape)
    #expect(image.width == 2 && image.height == 2)
    // Plane after plane in the weights, pixel after pixel in the image.
    #expect(image.pixels == [128, 128, 64, 255, 128, 159, 0, 128, 128, 191, 128, 128])
    #expect(
      Templates.image(of: [0, 0, 0, 0], as: InputShape(width: 2, height: 2, channels: 1)).pixels.allSatisfy {
        $0 == 128
      })
  }

  @Test func `inputs of one channel are grey, and the planes of other inputs stand beside each other`() {
    let grey = Templates.image(of: [-1, 0, 1, 0.5, 0, 0], as: InputShape(width: 3, height: 2, channels: 1))
    #expect(grey.width == 3 && grey.height == 2)
    #expect(grey.pixels == [0, 0, 0, 128, 128, 128, 255, 255, 255, 191, 191, 191, 128, 128, 128, 128, 128, 128])
    let planes = Templates.image(of: [-1, 0, 1, 0], as: InputShape(width: 1, height: 2, channels: 2))
    #expect(planes.width == 2 && planes.height == 2)
    #expect(planes.pixels == [0, 0, 0, 255, 255, 255, 128, 128, 128, 128, 128, 128])
    let point = Templates.image(of: [3, -3], as: InputShape(width: 1, height: 1, channels: 2))
    #expect(point.width == 2 && point.height == 1 && point.pixels == [255, 255, 255, 0, 0, 0])
  }

  @Test func `a linear model has a template for each class, with bias and norm`() throws {
    let model = try SmallModel.make(
      [([[3, 0, 0, -4], [1, 1, 1, 1], [0, 0, 0, 13]], [0.5, -1, 0])],
      inputs: InputShape(width: 2, height: 2, channels: 1),
      classNames: ["cat", "dog", "ship"])
    let all = Templates(of: model)
    #expect(all.isLinear && all.count == 3)
    #expect(all.templates.map(\.name) == ["cat", "dog", "ship"])
    #expect(all.templates.map(\.norm) == [5, 2, 13] && all.templates.map(\.bias) == [0.5, -1, 0])
    #expect(all.templates[0].least == -4 && all.templates[0].greatest == 3)
    #expect(Templates(of: model, limit: 2).templates.map(\.name) == ["ship", "cat"])
    #expect(all.text.contains("cat    0.5000   5.0000   -4.0000  3.0000"))
    #expect(all.json.compactText.contains(#"{"class":"dog","bias":-1,"norm":2,"min":1,"max":1}"#))
  }

  @Test func `a network has a template for each unit of its first layer, the largest norm first`() throws {
    let templates = Templates(of: try SmallModel.network(.tanh))
    #expect(!templates.isLinear && templates.count == 5 && templates.model == "hidden 5")
    #expect(templates.templates.map(\.norm) == templates.templates.map(\.norm).sorted(by: >))
    #expect(Set(templates.templates.map(\.name)) == Set((0..<5).map { "unit \($0)" }))
    let two = Templates(of: try SmallModel.network(.tanh), limit: 2)
    #expect(two.templates.map(\.name) == templates.templates.prefix(2).map(\.name))
    #expect(two.text.hasSuffix("2 of 5, those with the largest norms\n"))
  }
}
