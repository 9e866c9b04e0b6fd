import Foundation

/// CIFAR-10, for the tests that can only be about it.
public enum RealData {
  /// The directory with its binary files, which `DESCENT_DATA` names; nil if it is not set.
  public static let directory: String? = ProcessInfo.processInfo.environment["DESCENT_DATA"]
}
