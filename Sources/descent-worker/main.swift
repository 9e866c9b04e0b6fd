import Commands

runMain(WorkerCommand.self)
