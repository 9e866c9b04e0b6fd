import Diagnostics
import Optimization

// The fields of each structure, in the order of their bytes.

extension Coded where Self: Identifier {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var value = self.value
    try coder.code(&value)
    self = Self(value)
  }
}

extension Incarnation: Coded {}
extension MembershipEpoch: Coded {}
extension WorkItem.ID: Coded {}

extension Message.Join: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&role, "role")
    try coder.code(&name, limit: 64)
    try coder.code(&processID)
    try coder.code(&host, limit: 256)
    try coder.code(&datasetFingerprint)
    try coder.code(&endpoint, limit: 512)
    try coder.code(&formerExit, limit: 64)
  }
}

extension Message.Welcome: Coded {
  /// Of the servers' ranges only the ends travel, so that the ranges follow each other.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&sharesMemory)
    try plan.code(with: &coder)
    var count = UInt8(servers.count)
    try coder.code(&count)
    try coder.require(1...Self.maximumServers ~= Int(count), "welcome with \(count) servers")
    var begin = 0
    for index in 0..<Int(count) {
      if index == servers.count { servers.append(ServerEndpoint(range: 0..<0, endpoint: "")) }
      var end = servers[index].range.upperBound
      try coder.code(&end)
      try coder.require(end > begin, "range of a server")
      servers[index].range = min(begin, end)..<end
      try coder.code(&servers[index].endpoint, limit: 4096)
      begin = end
    }
    try coder.require(begin == plan.shape.parameterCount, "ranges of the servers")
  }
}

extension ExitReason: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&status, "exit status")
    try coder.code(&reason, limit: 4096)
  }
}

extension Message.Heartbeat: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&isReady)
    try assignmentEpoch.code(with: &coder)
    try coder.code(&examples)
    try coder.code(&loss)
    try waitingFor.code(with: &coder)
    try coder.code(&waitingMilliseconds)
    try coder.code(&rejectedPushes)
    try coder.code(&stalePushes)
    try coder.code(&takenOverShards)
    try coder.code(&lateShards)
    try untrusted.code(with: &coder)
    let blank = Message.WorkerPace(worker: Incarnation(0))
    try coder.code(&paces, limit: Message.Assignment.maximumMembers, blank: blank, "paces")
  }
}

extension Message.WorkerPace: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try worker.code(with: &coder)
    try coder.code(&answers)
    try coder.code(&timesLast)
    try coder.code(&medianSeconds)
    try coder.code(&p99Seconds)
    try coder.code(&awaitedSeconds)
    try coder.code(&memberSeconds)
  }
}

extension WorkItem: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try id.code(with: &coder)
    try shards.code(with: &coder)
    try scale.code(with: &coder)
  }
}

extension FixedPointScale: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&exponents, filler: 0, "fixed-point scale")
    let limit = Int8(Self.exponentLimit)
    try coder.require(exponents.min() >= -limit && exponents.max() <= limit, "fixed-point scale")
  }
}

extension GradientPeaks: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&bits, filler: .min, "gradient peaks")
  }
}

extension FieldCoder {
  /// A number for each block of a model, up to the last one that is not `filler`, behind their count: one encoding for
  /// each vector.
  fileprivate mutating func code(_ values: inout SIMD16<Int8>, filler: Int8, _ what: String) throws(Failure) {
    var count = UInt8(values.countWithoutTrailing(filler))
    try code(&count)
    try require(count <= values.scalarCount, what)
    for index in 0..<min(Int(count), values.scalarCount) {
      var bits = UInt8(bitPattern: values[index])
      try code(&bits)
      values[index] = Int8(bitPattern: bits)
    }
    try require(count == 0 || values[Int(count) - 1] != filler, what)
  }
}

extension SIMD16<Int8> {
  /// The number of elements up to the last one that is not `filler`, found without a look at each.
  fileprivate func countWithoutTrailing(_ filler: Int8) -> Int {
    let differences = unsafeBitCast(self ^ SIMD16(repeating: filler), to: SIMD2<UInt64>.self)
    let (low, high) = (UInt64(littleEndian: differences[0]), UInt64(littleEndian: differences[1]))
    return high == 0 ? 8 - low.leadingZeroBitCount / 8 : 16 - high.leadingZeroBitCount / 8
  }
}

extension Message.Assignment: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    let blank = Member(incarnation: Incarnation(0), name: "", shards: ShardSet())
    try coder.code(&members, limit: Self.maximumMembers, blank: blank, "assignment")
  }
}

extension Message.Assignment.Member: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try incarnation.code(with: &coder)
    try coder.code(&name, limit: 128)
    try shards.code(with: &coder)
  }
}

extension Message.SharedMemoryOffer: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&processID)
    try coder.code(&memory)
    try coder.code(&doorbell)
    try coder.require(processID > 0 && memory >= 0 && doorbell >= 0, "shared memory offer")
    try coder.code(&byteCount)
  }
}

extension Message.Snapshot: Coded {
  /// The step is the envelope's, and the optimizer's state the payload frame.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&serial)
    try coder.code(&occasion, "occasion")
    try training.totals.code(with: &coder)
    try interval.code(with: &coder)
    try coder.code(&gradientNorm)
    try coder.code(&training.shardClocks, limit: ShardSet.capacity, blank: 0)
    try training.codeScale(with: &coder)
    try coder.code(&stepSecondsP50)
    try coder.code(&stepSecondsP99)
  }
}

extension TrainingSnapshot: Coded {
  /// As `Message.start` has it. The step is the envelope's, and the optimizer's state the payload frame.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&shardClocks, limit: ShardSet.capacity, blank: 0)
    try totals.code(with: &coder)
    try codeScale(with: &coder)
  }

  /// Whether there is a scale, and the scale.
  fileprivate mutating func codeScale<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var (isRecorded, recorded) = (scale != nil, scale ?? FixedPointScale())
    try coder.code(&isRecorded)
    if isRecorded { try recorded.code(with: &coder) }
    scale = isRecorded ? recorded : nil
  }
}

extension RunTotals: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&examples)
    try coder.code(&lateShards)
    try coder.code(&takenOverShards)
    try coder.code(&staleness, limit: Self.stalenessBuckets, blank: 0)
    try coder.require(staleness.count == Self.stalenessBuckets, "staleness histogram")
  }
}

extension MinibatchStatistics: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var (examples, correct) = (UInt64(self.examples), UInt64(self.correct))
    try coder.code(&examples)
    try coder.code(&lossSum)
    try coder.code(&correct)
    try coder.require(examples <= 1 << 48 && correct <= examples, "minibatch statistics")
    (self.examples, self.correct) = (Int(examples), Int(correct))
    try coder.code(&isFinite)
    try peaks.code(with: &coder)
  }
}

extension ShardSet: Coded {
  /// The set's words up to the last one that is not zero, behind their number. A set has one encoding: a reader rejects
  /// any other.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var used = UInt8(Self.wordCount)
    while used > 0, words[Int(used) - 1] == 0 { used -= 1 }
    try coder.code(&used)
    try coder.require(used <= Self.wordCount, "shard set")
    for index in 0..<Int(used) { try coder.code(&words[index]) }
    try coder.require(used == 0 || words[Int(used) - 1] != 0, "shard set")
  }
}

extension ModelShape: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var (classes, pixels, hidden, activation) = (classes, pixels, hidden, activation)
    try coder.code(&classes)
    try coder.code(&pixels)
    var layers = UInt8(hidden.count)
    try coder.code(&layers)
    try coder.require(layers <= Self.maximumHiddenLayers, "\(layers) hidden layers")
    hidden.append(contentsOf: repeatElement(0, count: Int(layers) - hidden.count))
    for index in hidden.indices { try coder.code(&hidden[index]) }
    // So small that no number of parameters overflows.
    let sizes = [classes, pixels] + hidden
    try coder.require(sizes.allSatisfy { $0 <= 1 << 20 }, "model shape \(sizes)")
    try activation.code(with: &coder)
    try coder.require(!hidden.isEmpty || activation == .identity, "activation of a linear model")
    self = ModelShape(classes: classes, pixels: pixels, hidden: hidden, activation: activation)
  }
}

extension Activation: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var name = settingName
    try coder.code(&name, limit: 16)
    var parameter = parameter ?? 0
    try coder.code(&parameter)
    guard let found = Activation(settingName: name, parameter: parameter) else {
      return try coder.require(false, "activation \(name)")
    }
    // An activation has one encoding: the parameter of one that has none is zero.
    try coder.require((found.parameter ?? 0).bitPattern == parameter.bitPattern, "parameter of \(name)")
    self = found
  }
}

extension TrainingPlan: Coded {
  /// A plan from a peer is validated like one from the settings.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try shape.code(with: &coder)
    try coder.code(&preprocessing, "preprocessing")
    try coder.code(&loss, "loss")
    try coder.code(&margin)
    try coder.code(&reduction, "reduction")
    try coder.code(&dropout)
    try coder.code(&l2)
    try coder.code(&l1)
    try coder.code(&maxNorm)
    try coder.code(&batchSize)
    try coder.code(&shardCount)
    try coder.code(&seed)
    try coder.code(&initialization, "initialization")
    try coder.code(&initialStandardDeviation)
    try learningRate.code(with: &coder)
    try optimizer.code(with: &coder)
    try coder.code(&exampleCount)
    try coder.code(&validationCount)
    try coder.code(&validationStart)
    try coder.code(&totalSteps)
    try coder.code(&evaluateEvery)
    try coder.code(&checkpointEvery)
    var name = consistency.description
    try coder.code(&name, limit: 64)
    let found = ConsistencyModel(parsing: name)
    try coder.require(found != nil, "consistency")
    if let found { consistency = found }
    try coder.require(problem == nil, "plan: \(problem?.description ?? "")")
  }

  private var problem: Failure? {
    do throws(Failure) { try validate() } catch { return error }
    return nil
  }
}

extension LearningRate: Coded {
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    try coder.code(&base)
    try coder.code(&warmupSteps)
    try coder.code(&horizon)
    var found = schedule.fields
    try coder.code(&found.kind, "schedule")
    try coder.code(&found.every)
    try coder.code(&found.factor)
    schedule = LearningRateSchedule(found.kind, every: found.every, factor: found.factor)
    // A schedule has one encoding: fields that its kind does not use are zero.
    let fields = schedule.fields
    try coder.require(fields.every == found.every && fields.factor.bitPattern == found.factor.bitPattern, "schedule")
  }
}

extension Optimizer: Coded {
  /// The kind, and the hyperparameters that it has.
  mutating func code<Coder: FieldCoder>(with coder: inout Coder) throws(Coder.Failure) {
    var kind = kind
    try coder.code(&kind, "optimizer")
    var coded = Optimizer(kind)
    for hyperparameter in kind.hyperparameters {
      var value = self[hyperparameter]
      try coder.code(&value)
      coded[hyperparameter] = value
    }
    self = coded
  }
}
