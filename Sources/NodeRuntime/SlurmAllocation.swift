import Diagnostics

/// What Slurm says, by its environment variables, of the allocation that a process is in, and of its place there.
public struct SlurmAllocation: Sendable, Equatable {
  /// What a process does in an allocation.
  public enum Part: Sendable, Equatable {
    /// Starts one task on each node, which then do the work.
    case startTasks(workers: Int)
    /// Coordinator and server, and these workers of all.
    case lead(workers: Int, total: Int)
    /// Workers of a node, with the number of the first.
    case join(workers: Int, first: Int)
    /// Nothing: another task of the node acts for it, or there are fewer workers than nodes.
    case idle(String)
  }

  /// Of a step that `srun` has started.
  public struct Step: Sendable, Equatable {
    public let identifier: String
    /// Of this process, and how many there are.
    public let task: Int
    public let taskCount: Int
    let localTask: Int
    let node: Int
  }

  public let job: String
  /// How often the job was requeued.
  let restarts: Int
  /// Of the step; of the job in a batch script, and in the shell of `salloc`.
  public let nodes: Int
  /// Nil in a batch script, and in the shell of `salloc`.
  public let step: Step?
  /// Workers that each node has room for; those of one node are as good as those of another one.
  private let capacities: [Int]
  /// Names and addresses by which Slurm knows this host, in the order of trust.
  public let namesOfHost: [String]

  /// Nil outside an allocation.
  ///
  /// - Throws: `badConfiguration` for variables that Slurm does not set like this.
  public init?(_ environment: [String: String]) throws(Failure) {
    guard let job = environment["SLURM_JOB_ID"], !job.isEmpty else { return nil }
    let variables = Variables(environment)
    self.job = job
    restarts = try variables.number("SLURM_RESTART_COUNT") ?? 0
    let jobNodes = try variables.number("SLURM_JOB_NUM_NODES", "SLURM_NNODES") ?? 1
    let step = try variables.step()
    let isStep = step != nil
    let ofStep = isStep ? try variables.number("SLURM_STEP_NUM_NODES") : nil
    let nodes = max(1, ofStep ?? jobNodes)
    let tasks = try variables.list(isStep ? ["SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"] : []) ?? []
    let tasksPerNode = isStep ? nil : try variables.number("SLURM_NTASKS_PER_NODE")
    let processors = try variables.number("SLURM_CPUS_PER_TASK")
    // The list is that of the job's nodes, in their order; one of a step with fewer of them does not say which.
    let ofNodes = try variables.list(nodes == jobNodes ? ["SLURM_JOB_CPUS_PER_NODE"] : []) ?? []
    let ofThisNode = try variables.number("SLURM_CPUS_ON_NODE")
    capacities = (0..<nodes).map { node in
      let asked = tasksPerNode ?? (node < tasks.count ? tasks[node] : 1)
      if asked > 1 { return asked }
      return max(1, processors ?? (node < ofNodes.count ? ofNodes[node] : ofThisNode ?? 1))
    }
    (self.step, self.nodes) = (step, nodes)
    namesOfHost = ["SLURM_LAUNCH_NODE_IPADDR", "SLURMD_NODENAME", "SLURM_TOPOLOGY_ADDR"].compactMap { environment[$0] }
  }

  /// The name of the run, and of its directory in `runs`: the same on all nodes, and after a requeue.
  public var runName: String { "slurm-\(job)" }

  /// Of this start of the job, and of this step: the same on all nodes.
  public var launch: String {
    let identifier = step?.identifier ?? "0"
    return runName + (identifier == "0" ? "" : ".\(identifier)") + (restarts == 0 ? "" : "-r\(restarts)")
  }

  /// Of the whole run.
  ///
  /// - Parameters:
  ///   - workers: if they were chosen; nil for as many as the nodes have room for.
  ///   - shards: of the run, which can have no more workers.
  public func totalWorkers(_ workers: Int?, shards: Int) -> Int { workers ?? min(shards, capacities.reduce(0, +)) }

  /// What this process does.
  ///
  /// - Parameters:
  ///   - workers: of the whole run; nil for as many as the nodes have room for.
  ///   - shards: of the run, which can have no more workers.
  /// - Throws: `badConfiguration` for a number of workers that leaves none for the node that leads.
  public func part(workers: Int?, shards: Int) throws(Failure) -> Part {
    let total = totalWorkers(workers, shards: shards)
    guard let step else { return .startTasks(workers: total) }
    let share = total / nodes + (step.node < total % nodes ? 1 : 0)
    let first = step.node * (total / nodes) + min(step.node, total % nodes)
    if step.task == 0 {
      guard share > 0 else {
        throw Failure(
          .badConfiguration, "\(total) workers for \(nodes) nodes leave none for the one that leads",
          remedy: "Give at least as many --workers as there are nodes")
      }
      return .lead(workers: share, total: total)
    }
    guard step.localTask == 0 else { return .idle("another task of this node starts its workers") }
    guard share > 0 else { return .idle("there are \(total) workers for \(nodes) nodes, and none for this one") }
    return .join(workers: share, first: first)
  }

  /// Refuses what would start a run in each task of a step.
  ///
  /// - Throws: `usage` in a step of several tasks.
  public func requireOneTask() throws(Failure) {
    guard let step, step.taskCount > 1 else { return }
    throw Failure(
      .usage,
      "this is task \(step.task) of \(step.taskCount) that srun has started, and each would start a run of its own",
      remedy:
        "For one run on all nodes pass --launcher slurm, as in: srun --ntasks-per-node=1 descent train --launcher slurm "
        + "… For runs of their own pass --launcher none")
  }
}

/// Reads what Slurm writes.
private struct Variables {
  /// Steps of Slurm's own have numbers from here on: that of the batch script, and that of the shell of `salloc`.
  private static let firstSpecialStep = 0xffff_fff0

  private let environment: [String: String]

  init(_ environment: [String: String]) { self.environment = environment }

  /// The first that is set and not empty; nil for none.
  private func first(_ names: [String]) -> (name: String, text: String)? {
    names.lazy.compactMap { name in environment[name].map { (name, $0) } }.first { !$0.1.isEmpty }
  }

  func number(_ names: String...) throws(Failure) -> Int? {
    guard let (name, text) = first(names) else { return nil }
    guard let number = Int(text), number >= 0 else { throw wrong(name, text, "a number") }
    return number
  }

  /// Of each node: "2(x3),1" for 2, 2, 2, 1.
  func list(_ names: [String]) throws(Failure) -> [Int]? {
    guard let (name, text) = first(names) else { return nil }
    var numbers: [Int] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      guard let match = part.wholeMatch(of: /([0-9]+)(?:\(x([0-9]+)\))?/), let number = Int(match.1),
        let count = match.2.map({ Int($0) }) ?? 1, numbers.count + count <= 100_000
      else { throw wrong(name, text, "numbers as in 2(x3),1") }
      numbers += Array(repeating: number, count: count)
    }
    return numbers
  }

  func step() throws(Failure) -> SlurmAllocation.Step? {
    guard let step = try number("SLURM_STEP_ID", "SLURM_STEPID"), step < Self.firstSpecialStep else { return nil }
    let task = try number("SLURM_PROCID") ?? 0
    let taskCount = try number("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") ?? 1
    return SlurmAllocation.Step(
      identifier: "\(step)", task: task, taskCount: max(1, taskCount), localTask: try number("SLURM_LOCALID") ?? 0,
      node: try number("SLURM_NODEID") ?? 0)
  }

  private func wrong(_ name: String, _ text: String, _ expected: String) -> Failure {
    Failure(.badConfiguration, "\(name) must be \(expected), but is \"\(text.prefix(100))\"", remedy: "Slurm sets it")
  }
}
