import Diagnostics
import Files
import Reporting

/// What a stream of events is about, and what it has been sent.
package struct Subscription: Sendable, Equatable {
  package enum View: Sendable, Equatable {
    case runs
    case run(String)
    case comparison([String])
  }

  package let view: View
  /// The count of changes at its newest event; 0 before the first.
  fileprivate var seen: UInt64 = 0

  package init(_ view: View) { self.view = view }
}

/// The page over the directories of runs: a table of paths and what each answers. Nothing of a request ever becomes a part of
/// a path on the disk: runs and checkpoints are looked up in lists.
package final class DashboardPage: HTTPContent {
  /// Runs that are compared at once.
  private static let comparisonLimit = 12
  private static let html = "text/html; charset=utf-8"
  private static let json = "application/json; charset=utf-8"

  private let access: PageAccess
  private let catalog: RunCatalog
  private let pictures = TemplatePictures()
  private var watched: Set<String> = []

  /// - Parameters:
  ///   - places: directories that are a run or contain runs; they need not exist yet.
  package init(_ places: [String], access: PageAccess) {
    self.access = access
    catalog = RunCatalog(places)
  }

  // MARK: - Requests

  package func response(to request: HTTPRequest) -> HTTPResponse {
    if let refusal = access.refusal(of: request) { return refusal }
    switch request.path {
    case "/": return HTTPResponse(.ok, Self.html, .bytes(PackageResources.page_html))
    case "/page.css": return HTTPResponse(.ok, "text/css; charset=utf-8", .bytes(PackageResources.page_css))
    case "/page.js": return HTTPResponse(.ok, "text/javascript; charset=utf-8", .bytes(PackageResources.page_js))
    case "/chart.js": return HTTPResponse(.ok, "text/javascript; charset=utf-8", .bytes(PackageResources.chart_js))
    case "/icon.svg": return HTTPResponse(.ok, "image/svg+xml", .bytes(PackageResources.icon_svg))
    case "/events": return events(request)
    case "/api/runs", "/api/run", "/api/compare":
      refresh()
      guard let view = view(request) else { return Self.unknownRun }
      return HTTPResponse(.ok, Self.json, .bytes(json(of: view, since: 0).compactBytes))
    case "/api/templates": return templates(request) { (Self.json, $0.json.compactBytes) }
    case "/templates.png": return templates(request) { ("image/png", $0.png) }
    case "/metrics":
      catalog.refresh()
      return HTTPResponse(.ok, PrometheusText.contentType, .bytes(PrometheusText(catalog.entries).bytes))
    case "/health": return HTTPResponse(.ok, "ok")
    default: return HTTPResponse(.notFound, "there is no such page")
    }
  }

  private static let unknownRun = HTTPResponse(.notFound, "there is no such run")

  /// What `/api/…` and `/events` are asked for; nil for a run that is not there.
  private func view(_ request: HTTPRequest) -> Subscription.View? {
    let ids = request.query.filter { $0.key == "id" }.map(\.value)
    switch request["view"] ?? String(request.path.split(separator: "/").last ?? "") {
    case "runs": return .runs
    case "run": return ids.first.flatMap { catalog[$0] == nil ? nil : .run($0) }
    case "compare":
      let known = ids.prefix(Self.comparisonLimit).filter { catalog[$0] != nil }
      return known.isEmpty ? nil : .comparison(known)
    default: return nil
    }
  }

  private func events(_ request: HTTPRequest) -> HTTPResponse {
    // Before there was a reader nothing was followed.
    catalog.refresh()
    guard let view = view(request) else { return Self.unknownRun }
    return HTTPResponse(.ok, "text/event-stream", .events(Subscription(view)))
  }

  private func templates(
    _ request: HTTPRequest, _ content: (TemplatePictures.Picture) -> (String, [UInt8])
  ) -> HTTPResponse {
    guard let entry = request["id"].flatMap({ catalog[$0] }) else {
      catalog.refresh()
      return request["id"].flatMap { catalog[$0] } == nil ? Self.unknownRun : templates(request, content)
    }
    let step = request["step"].map { UInt64($0) } ?? entry.history.latestCheckpoint
    guard let step,
      entry.history.checkpoints.contains(step)
    else { return HTTPResponse(.notFound, "there is no such checkpoint") }
    do throws(Failure) {
      let (type, bytes) = content(try pictures.picture(of: entry.paths.directory, step: step))
      return HTTPResponse(.ok, type, .bytes(bytes))
    } catch {
      // It may have been removed meanwhile, for a newer one.
      return HTTPResponse(.notFound, printable(error.description))
    }
  }

  // MARK: - Events

  package func refresh() {
    catalog.refresh(watching: watched)
    watched = []
  }

  package func news(for subscription: inout Subscription) -> [UInt8]? {
    watch(subscription.view)
    let newest = changes(of: subscription.view)
    guard newest > subscription.seen else { return nil }
    let json = json(of: subscription.view, since: subscription.seen)
    subscription.seen = catalog.changes
    return Array("data: ".utf8) + json.compactBytes + Array("\n\n".utf8)
  }

  private func watch(_ view: Subscription.View) {
    switch view {
    case .runs: break
    case .run(let id): watched.insert(id)
    case .comparison(let ids): watched.formUnion(ids)
    }
  }

  /// The count of changes at the newest one that the view shows.
  private func changes(of view: Subscription.View) -> UInt64 {
    switch view {
    case .runs: max(catalog.listedAt, catalog.entries.map(\.changedAt).max() ?? 0)
    case .run(let id): catalog[id]?.changedAt ?? catalog.listedAt
    case .comparison(let ids): ids.map { catalog[$0]?.changedAt ?? catalog.listedAt }.max() ?? 0
    }
  }

  /// - Parameter seen: of all runs, those that have changed since.
  private func json(of view: Subscription.View, since seen: UInt64) -> JSONValue {
    switch view {
    case .runs:
      let isComplete = catalog.listedAt > seen
      let rows = catalog.entries.filter { isComplete || $0.changedAt > seen }.map(\.overview)
      return ["complete": .boolean(isComplete), "version": .string(DescentVersion.current), "runs": .array(rows)]
    case .run(let id): return ["run": catalog[id]?.detail ?? .null]
    case .comparison(let ids): return ["runs": .array(ids.compactMap { catalog[$0]?.comparison })]
    }
  }
}
