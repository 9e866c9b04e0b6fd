/// What is to happen, in order of time; what is due at the same time happens in the order it was planned.
struct EventQueue<Element> {
  /// Small, because a heap moves its entries about; the elements stay where they are.
  private struct Entry {
    var time: UInt64
    var order: UInt64
    var slot: Int

    func isBefore(_ other: Entry) -> Bool {
      time != other.time ? time < other.time : order < other.order
    }
  }

  private var heap: [Entry] = []
  private var elements: [Element?] = []
  private var freeSlots: [Int] = []
  private var planned: UInt64 = 0

  var nextTime: UInt64? { heap.first?.time }

  mutating func insert(_ element: Element, at time: UInt64) {
    planned += 1
    let slot: Int
    if let free = freeSlots.popLast() {
      slot = free
      elements[slot] = element
    } else {
      slot = elements.count
      elements.append(element)
    }
    heap.append(Entry(time: time, order: planned, slot: slot))
    siftUp()
  }

  mutating func removeFirst() -> (time: UInt64, element: Element)? {
    guard let first = heap.first, let last = heap.popLast(), let element = elements[first.slot] else { return nil }
    elements[first.slot] = nil
    freeSlots.append(first.slot)
    if !heap.isEmpty {
      heap[0] = last
      siftDown()
    }
    return (first.time, element)
  }

  private mutating func siftUp() {
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].isBefore(heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  private mutating func siftDown() {
    var parent = 0
    while true {
      var smallest = parent
      for child in 2 * parent + 1...2 * parent + 2
      where child < heap.count && heap[child].isBefore(heap[smallest]) {
        smallest = child
      }
      guard smallest != parent else { return }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
  }
}
