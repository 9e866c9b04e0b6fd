import Commands

runMain(CoordinatorCommand.self)
