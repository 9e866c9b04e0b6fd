// What the C library declares only under _GNU_SOURCE, which Swift's module of it does not set: memfd_create(2), the seals
// of fcntl(2), and fallocate(2). Linux 3.17, glibc 2.27. And mallopt(3), which that module leaves out, and a handler of
// SIGBUS, which must not be written in Swift. And the processors of a thread: cpu_set_t is made for macros.
#ifndef DESCENT_LINUX_SHIM_H
#define DESCENT_LINUX_SHIM_H

#include <malloc.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/vfs.h>

int fallocate(int descriptor, int mode, off_t offset, off_t length);
int memfd_create(const char *name, unsigned int flags);
// Not in Swift's module of the C library at all.
int epoll_create1(int flags);

enum {
  DESCENT_MEMFD_CLOSE_ON_EXEC = 0x1,
  DESCENT_MEMFD_ALLOW_SEALING = 0x2,
  DESCENT_ADD_SEALS = 1033,
  DESCENT_GET_SEALS = 1034,
  DESCENT_SEAL_SEAL = 0x1,
  DESCENT_SEAL_SHRINK = 0x2,
  DESCENT_SEAL_GROW = 0x4,
  DESCENT_SCHED_BATCH = 3,
};

/// The number of the kind of a file system (statfs(2)); 0 if it is not known.
static inline unsigned long descent_file_system_kind(const char *path) {
  struct statfs system;
  return statfs(path, &system) == 0 ? (unsigned long)system.f_type & 0xFFFFFFFFUL : 0;
}

/// The processor that the calling thread runs on.
int descent_current_processor(void);

/// The calling thread's number, for the function below.
pid_t descent_thread(void);

/// Lets a thread of this process run on all processors that the calling thread may use but one. Does nothing where none is
/// left, or where the system refuses.
void descent_avoid_processor(pid_t thread, int processor);

/// Keeps the process alive when a page of this read-only mapping of a file cannot be read, because the file was cut short
/// or the disk failed: the whole mapping then reads as zeros, and the place is remembered. `start` begins a page.
/// Returns a number for the functions below, or -1 if too many mappings are guarded.
int descent_guard_mapping(const void *start, size_t count);

/// One more than the offset of the byte that could not be read; 0 if all could.
size_t descent_mapping_fault(int guard);

/// To be called before the mapping ends.
void descent_end_guard(int guard);

#endif
