import Commands
import SourceCommit

runMain(WorkerCommand.self, commit: sourceCommit)
