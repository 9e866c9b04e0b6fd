import Foundation
import PackagePlugin

/// Writes the commit of the sources into a source file, before each build and only if it has changed.
@main struct CommitPlugin: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: Target) -> [Command] {
    let directory = context.pluginWorkDirectoryURL
    let script = """
      commit=$(git -C "$1" describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null) || commit=
      text="let describedCommit = \\"$commit\\""
      [ "$(cat "$2/Commit.swift" 2>/dev/null)" = "$text" ] || printf '%s\\n' "$text" >"$2/Commit.swift"
      """
    return [
      .prebuildCommand(
        displayName: "Looking up the commit of the sources", executable: URL(filePath: "/bin/sh"),
        arguments: ["-c", script, "sh", context.package.directoryURL.path, directory.path],
        outputFilesDirectory: directory)
    ]
  }
}
