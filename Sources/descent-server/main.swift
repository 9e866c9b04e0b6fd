import Commands
import SourceCommit

runMain(ServerCommand.self, commit: sourceCommit)
