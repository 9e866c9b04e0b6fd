/// What is subtracted from the pixels before they are scaled: the input is (pixel − mean) / 127.5 (CS231n, "Neural Networks
/// Part 2", "Data preprocessing"). Whichever it is, a model holds it as a mean image [D], so that evaluation and prediction
/// need to know no more.
public enum Preprocessing: UInt8, Sendable, CaseIterable {
  /// The mean of every pixel over the training examples.
  case meanImage = 0
  /// The mean of every channel over the pixels of the training examples, the same for all pixels of the channel.
  case channelMean = 1
  /// Nothing: the mean is 0 and the inputs lie in 0 ... 2, not around zero; |x| ≤ 2 holds as for the others.
  case none = 2

  /// The spelling in settings and checkpoints.
  public var settingName: String {
    switch self {
    case .meanImage: "mean-image"
    case .channelMean: "channel-mean"
    case .none: "none"
    }
  }
}
