/// Counts the allocations of every process it is preloaded into (LD_PRELOAD), for Scripts/count-gates.sh.
///
/// The directory that ALLOCATION_COUNTS names gets a file <program>.<process id> for each, 8 bytes in the machine's order.
/// The count lives in the mapped file, so it is right however the process ends.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// What glibc calls its own functions.
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static atomic_ulong before_the_file;
static _Atomic(atomic_ulong *) counter;

static void count(void) {
  atomic_ulong *current = atomic_load_explicit(&counter, memory_order_acquire);
  atomic_fetch_add_explicit(current ? current : &before_the_file, 1, memory_order_relaxed);
}

/// A process that cannot count must not look like one that allocates nothing.
static void fail(const char *what) {
  perror(what);
  _exit(EXIT_FAILURE);
}

__attribute__((constructor)) static void open_file(void) {
  const char *directory = getenv("ALLOCATION_COUNTS");
  char path[4096];
  const int length =
    snprintf(path, sizeof path, "%s/%s.%d", directory ? directory : "", program_invocation_short_name, getpid());
  if (!directory || length >= (int)sizeof path) fail("ALLOCATION_COUNTS");
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0 || ftruncate(file, sizeof(atomic_ulong)) != 0) fail(path);
  atomic_ulong *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (shared == MAP_FAILED) fail(path);
  close(file);
  atomic_fetch_add(shared, atomic_load(&before_the_file));
  atomic_store_explicit(&counter, shared, memory_order_release);
}

void *malloc(size_t size) {
  count();
  return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
  count();
  return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size) {
  count();
  return __libc_realloc(memory, size);
}

void *memalign(size_t alignment, size_t size) {
  count();
  return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **memory, size_t alignment, size_t size) {
  void *found = memalign(alignment, size);
  if (!found) return ENOMEM;
  *memory = found;
  return 0;
}
