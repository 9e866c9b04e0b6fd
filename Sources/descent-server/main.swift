import Commands

runMain(ServerCommand.self)
