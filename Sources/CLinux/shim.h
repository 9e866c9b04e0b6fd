// What the C library declares only under _GNU_SOURCE, which Swift's module of it does not set: memfd_create(2), the seals
// of fcntl(2), and fallocate(2). Linux 3.17, glibc 2.27.
#ifndef DESCENT_LINUX_SHIM_H
#define DESCENT_LINUX_SHIM_H

#include <sys/types.h>

int fallocate(int descriptor, int mode, off_t offset, off_t length);
int memfd_create(const char *name, unsigned int flags);

enum {
  DESCENT_MEMFD_CLOSE_ON_EXEC = 0x1,
  DESCENT_MEMFD_ALLOW_SEALING = 0x2,
  DESCENT_ADD_SEALS = 1033,
  DESCENT_GET_SEALS = 1034,
  DESCENT_SEAL_SEAL = 0x1,
  DESCENT_SEAL_SHRINK = 0x2,
  DESCENT_SEAL_GROW = 0x4,
};

#endif
