import Commands
import SourceCommit

runMain(DescentCommand.self, commit: sourceCommit)
