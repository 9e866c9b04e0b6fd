import Commands
import SourceCommit

runMain(CoordinatorCommand.self, commit: sourceCommit)
