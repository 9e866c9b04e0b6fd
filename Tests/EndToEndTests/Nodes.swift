import Foundation
import TestSupport
import Testing

/// Nodes that share a directory as over a network, on one host: each has its own host name, its own kernel by name, and its
/// own table of locks, so that no lock of one node is seen by another (Lustre `localflock`).
///
/// A library that is loaded before the C library (LD_PRELOAD) plays them. It also refuses an exclusive lock on a file that
/// was opened for reading alone, as NFS does, and calls every file system NFS.
struct Nodes {
  private static let source = #"""
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <fcntl.h>
    #include <stdarg.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/file.h>
    #include <sys/stat.h>
    #include <sys/vfs.h>
    #include <unistd.h>

    #define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
    static int locks[4096];

    static const char *node(void) { return getenv("TEST_NODE"); }

    int gethostname(char *name, size_t size) {
      const char *slash = strrchr(node(), '/');
      snprintf(name, size, "%s", slash + 1);
      return 0;
    }

    static const char *replaced(const char *path, char *buffer, size_t size) {
      if (strcmp(path, "/proc/sys/kernel/random/boot_id") != 0) return path;
      snprintf(buffer, size, "%s/boot_id", node());
      return buffer;
    }

    int open(const char *path, int flags, ...) {
      char buffer[4096];
      va_list list;
      va_start(list, flags);
      mode_t mode = va_arg(list, mode_t);
      va_end(list);
      return NEXT(open)(replaced(path, buffer, sizeof buffer), flags, mode);
    }

    int open64(const char *path, int flags, ...) {
      char buffer[4096];
      va_list list;
      va_start(list, flags);
      mode_t mode = va_arg(list, mode_t);
      va_end(list);
      return NEXT(open64)(replaced(path, buffer, sizeof buffer), flags, mode);
    }

    int statfs(const char *path, struct statfs *system) {
      int result = NEXT(statfs)(path, system);
      system->f_type = 0x6969;
      return result;
    }

    int flock(int descriptor, int operation) {
      struct stat status;
      if (fstat(descriptor, &status) != 0) return -1;
      if ((operation & LOCK_EX) && (fcntl(descriptor, F_GETFL) & O_ACCMODE) == O_RDONLY) {
        errno = EBADF;
        return -1;
      }
      if (descriptor >= 4096) return 0;
      if (locks[descriptor] == 0) {
        char path[4096];
        snprintf(path, sizeof path, "%s/lock-%lu", node(), (unsigned long)status.st_ino);
        int lock = NEXT(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (lock < 0) return -1;
        locks[descriptor] = lock;
      }
      return NEXT(flock)(locks[descriptor], operation);
    }

    int close(int descriptor) {
      if (descriptor >= 0 && descriptor < 4096 && locks[descriptor] != 0) {
        NEXT(close)(locks[descriptor]);
        locks[descriptor] = 0;
      }
      return NEXT(close)(descriptor);
    }
    """#

  /// The library, compiled once; nil without a C compiler.
  private static let library: String? = {
    let directory = TemporaryDirectory.untilExit()
    guard let path = try? directory.write(Array(source.utf8), to: "nodes.c") else { return nil }
    let compiler = Process()
    compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    compiler.arguments = ["cc", "-shared", "-fPIC", "-O1", "-o", directory.path + "/nodes.so", path, "-ldl"]
    compiler.standardError = FileHandle.nullDevice
    guard (try? compiler.run()) != nil else { return nil }
    compiler.waitUntilExit()
    return compiler.terminationStatus == 0 ? directory.path + "/nodes.so" : nil
  }()

  static var canBeMade: Bool { library != nil }

  let directory: URL

  /// What the processes of a node are started with.
  func environment(_ name: String) throws -> [String: String] {
    let place = directory.appendingPathComponent(name)
    if !FileManager.default.fileExists(atPath: place.path) {
      try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
      try Data("\(UUID().uuidString.lowercased())\n".utf8).write(to: place.appendingPathComponent("boot_id"))
    }
    return ["LD_PRELOAD": try #require(Self.library), "TEST_NODE": place.path, "XDG_RUNTIME_DIR": place.path]
  }

  func start(_ name: String, program: String = "descent", _ arguments: [String]) throws -> Program.Running {
    try Program.start(program, arguments, environment: environment(name))
  }

  /// Sends a signal to all processes of a run.
  static func signal(_ number: Int32, _ run: URL) -> [pid_t] {
    let all = processes(of: run)
    for process in all { kill(process, number) }
    return all
  }
}
