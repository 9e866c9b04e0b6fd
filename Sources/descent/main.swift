import Commands

runMain(DescentCommand.self)
