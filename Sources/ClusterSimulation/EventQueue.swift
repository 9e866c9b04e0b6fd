/// What is to happen, in order of time; what is due at the same time happens in the order it was planned.
struct EventQueue<Element> {
  private struct Entry {
    var time: UInt64
    var order: UInt64
    var element: Element

    func isBefore(_ other: Entry) -> Bool {
      time != other.time ? time < other.time : order < other.order
    }
  }

  private var heap: [Entry] = []
  private var planned: UInt64 = 0

  var nextTime: UInt64? { heap.first?.time }

  mutating func insert(_ element: Element, at time: UInt64) {
    planned += 1
    heap.append(Entry(time: time, order: planned, element: element))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].isBefore(heap[parent]) else { return }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  mutating func removeFirst() -> (time: UInt64, element: Element)? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty {
      heap[0] = last
      siftDown()
    }
    return (first.time, first.element)
  }

  private mutating func siftDown() {
    var parent = 0
    while true {
      var smallest = parent
      for child in [2 * parent + 1, 2 * parent + 2]
      where child < heap.count && heap[child].isBefore(heap[smallest]) {
        smallest = child
      }
      guard smallest != parent else { return }
      heap.swapAt(parent, smallest)
      parent = smallest
    }
  }
}
