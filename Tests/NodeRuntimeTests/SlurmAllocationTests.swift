import Diagnostics
import NodeRuntime
import Testing

/// What Slurm's variables make of a process: decided without Slurm.
@Suite struct SlurmAllocationTests {
  private static let batch = [
    "SLURM_JOB_ID": "4711", "SLURM_JOB_NUM_NODES": "3", "SLURM_NNODES": "3", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0", "SLURM_JOB_CPUS_PER_NODE": "4(x2),2", "SLURM_TASKS_PER_NODE": "1(x3)",
    "SLURM_CPUS_ON_NODE": "4", "SLURMD_NODENAME": "n1",
  ]

  /// A task of a step with one task on each of three nodes.
  private static func task(_ number: Int, local: Int = 0, node: Int? = nil, _ more: [String: String] = [:]) -> [String:
    String]
  {
    let own = [
      "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_NUM_NODES": "3",
      "SLURM_STEP_TASKS_PER_NODE": "1(x3)", "SLURM_PROCID": "\(number)", "SLURM_NODEID": "\(node ?? number)",
      "SLURM_LOCALID": "\(local)",
    ]
    return batch.merging(own) { $1 }.merging(more) { $1 }
  }

  private func part(_ environment: [String: String], workers: Int? = nil) throws -> SlurmAllocation.Part {
    try #require(try SlurmAllocation(environment)).part(workers: workers, shards: 16)
  }

  @Test func `outside an allocation there is none`() throws {
    #expect(try SlurmAllocation([:]) == nil)
    #expect(try SlurmAllocation(["SLURM_JOB_ID": ""]) == nil)
  }

  @Test(arguments: [nil, "4294967291", "4294967290"])
  func `a batch script, and the shell of salloc, start the tasks`(step: String?) throws {
    var environment = Self.batch
    environment["SLURM_STEP_ID"] = step
    #expect(try part(environment) == .startTasks(workers: 10))
    #expect(try part(environment, workers: 7) == .startTasks(workers: 7))
    environment["SLURM_CPUS_PER_TASK"] = "2"
    #expect(try part(environment) == .startTasks(workers: 6))
    environment["SLURM_NTASKS_PER_NODE"] = "3"
    #expect(try part(environment) == .startTasks(workers: 9))
  }

  @Test func `task 0 leads, the others join, and each worker has a number of its own`() throws {
    #expect(try part(Self.task(0), workers: 7) == .lead(workers: 3, total: 7))
    #expect(try part(Self.task(1), workers: 7) == .join(workers: 2, first: 3))
    #expect(try part(Self.task(2), workers: 7) == .join(workers: 2, first: 5))
  }

  @Test(arguments: 1...16)
  func `the shares of the nodes are all workers, once`(total: Int) throws {
    var numbers: [Int] = []
    for node in 0..<3 {
      switch try? part(Self.task(node), workers: total) {
      case .lead(let workers, _): numbers += Array(0..<workers)
      case .join(let workers, let first): numbers += Array(first..<first + workers)
      default: break
      }
    }
    #expect(numbers == Array(0..<total))
  }

  @Test func `without a number there are as many workers as processors, and no more than shards`() throws {
    #expect(try part(Self.task(0)) == .lead(workers: 4, total: 10))
    let large = ["SLURM_JOB_CPUS_PER_NODE": "64(x3)"]
    #expect(try part(Self.task(0, large)) == .lead(workers: 6, total: 16))
  }

  @Test func `several tasks on a node: the first of them acts, with a worker for each`() throws {
    let four = ["SLURM_STEP_NUM_TASKS": "12", "SLURM_STEP_TASKS_PER_NODE": "4(x3)"]
    #expect(try part(Self.task(0, four)) == .lead(workers: 4, total: 12))
    #expect(try part(Self.task(4, node: 1, four)) == .join(workers: 4, first: 4))
    for (task, local, node) in [(1, 1, 0), (5, 1, 1)] {
      guard case .idle = try part(Self.task(task, local: local, node: node, four)) else {
        Issue.record("task \(task) is not idle")
        continue
      }
    }
  }

  @Test func `fewer workers than nodes: the last nodes have nothing to do`() throws {
    #expect(try part(Self.task(0), workers: 1) == .lead(workers: 1, total: 1))
    guard case .idle(let reason) = try part(Self.task(1), workers: 1) else {
      Issue.record("it is not idle")
      return
    }
    #expect(reason.contains("1 workers for 3 nodes"))
  }

  @Test func `a step of several tasks without a launcher is refused, with what to pass`() throws {
    let failure = #expect(throws: Failure.self) { try SlurmAllocation(Self.task(2))?.requireOneTask() }
    #expect(failure?.status == .usage)
    #expect(failure?.message.contains("task 2 of 3") == true)
    #expect(failure?.remedy?.contains("--launcher slurm") == true)
    try SlurmAllocation(Self.batch)?.requireOneTask()
    try SlurmAllocation(Self.task(0, ["SLURM_STEP_NUM_TASKS": "1"]))?.requireOneTask()
  }

  @Test func `a requeued job has the same run, and another launch`() throws {
    let first = try #require(try SlurmAllocation(Self.task(0)))
    let second = try #require(try SlurmAllocation(Self.task(0, ["SLURM_RESTART_COUNT": "1"])))
    #expect(first.runName == "slurm-4711" && second.runName == first.runName)
    #expect(first.launch == "slurm-4711" && second.launch == "slurm-4711-r1")
    #expect(try SlurmAllocation(Self.task(2))?.launch == first.launch)
    #expect(try SlurmAllocation(Self.task(0, ["SLURM_STEP_ID": "3"]))?.launch == "slurm-4711.3")
  }

  @Test(arguments: ["SLURM_STEP_TASKS_PER_NODE", "SLURM_JOB_NUM_NODES", "SLURM_PROCID", "SLURM_CPUS_PER_TASK"])
  func `a variable that Slurm does not write like this is named`(name: String) throws {
    let failure = #expect(throws: Failure.self) { try SlurmAllocation(Self.task(0, [name: "many"])) }
    #expect(failure?.status == .badConfiguration)
    #expect(failure?.message.contains("\(name) must be") == true, "\(failure?.message ?? "")")
  }
}
