/// The commit that the programs are built from, with "-dirty" if the working tree differs from it; nil for sources outside
/// a repository. `CommitPlugin` writes it. Only the executables import it, so that a commit recompiles little.
public let sourceCommit: String? = describedCommit.isEmpty ? nil : describedCommit
