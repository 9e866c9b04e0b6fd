#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

enum { GUARDS = 4096 };

typedef struct guard {
  /// 0 where the guard is free.
  atomic_uintptr_t start;
  atomic_size_t count;
  /// One more than the offset of the byte that could not be read.
  atomic_size_t fault;
} guard;

static guard guards[GUARDS];
static struct sigaction former;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/// Calls nothing but mmap(2), which is a system call without a lock of the C library.
static void bus_error(int number, siginfo_t *info, void *context) {
  (void)context;
  const int error = errno;
  const uintptr_t address = (uintptr_t)info->si_addr;
  // Others than the kernel send no address.
  for (int i = 0; info->si_code > 0 && i < GUARDS; i++) {
    const uintptr_t start = atomic_load(&guards[i].start);
    const size_t count = atomic_load(&guards[i].count);
    if (start == 0 || address < start || address - start >= count) continue;
    size_t none = 0;
    atomic_compare_exchange_strong(&guards[i].fault, &none, address - start + 1);
    // defence: data-guard
    if (mmap((void *)start, count, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED) {
      errno = error;
      return;
    }
  }
  // Not ours, or no memory: as without this handler.
  sigaction(SIGBUS, &former, NULL);
  raise(number);
}

int descent_guard_mapping(const void *start, size_t count) {
  static int is_installed = 0;
  int found = -1;
  pthread_mutex_lock(&lock);
  if (!is_installed) {
    struct sigaction action = {.sa_sigaction = bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    is_installed = sigaction(SIGBUS, &action, &former) == 0;
  }
  for (int i = 0; is_installed && found < 0 && i < GUARDS; i++)
    if (atomic_load(&guards[i].start) == 0) found = i;
  if (found >= 0) {
    atomic_store(&guards[found].fault, 0);
    atomic_store(&guards[found].count, count);
    atomic_store(&guards[found].start, (uintptr_t)start);
  }
  pthread_mutex_unlock(&lock);
  return found;
}

size_t descent_mapping_fault(int guard) { return guard < 0 ? 0 : atomic_load(&guards[guard].fault); }

void descent_end_guard(int guard) {
  if (guard >= 0) atomic_store(&guards[guard].start, 0);
}
