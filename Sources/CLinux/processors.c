#define _GNU_SOURCE
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim.h"

int descent_current_processor(void) { return sched_getcpu(); }

// glibc has gettid(2) from 2.30 on.
pid_t descent_thread(void) { return (pid_t)syscall(SYS_gettid); }

void descent_avoid_processor(pid_t thread, int processor) {
  cpu_set_t processors;
  if (processor < 0 || sched_getaffinity(0, sizeof processors, &processors) != 0) return;
  CPU_CLR((size_t)processor, &processors);
  if (CPU_COUNT(&processors) > 0) (void)sched_setaffinity(thread, sizeof processors, &processors);
}
