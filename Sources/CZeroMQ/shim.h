// libzmq, and the descriptors that its poll waits for besides sockets: the module map of the C library has neither.
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <zmq.h>
