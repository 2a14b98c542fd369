#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "toolbox.h"

// The forwarder is a process of its own, so that traffic never holds up the toolbox. The agent may kill it: the toolbox
// keeps the listening socket and starts another.
enum { PAIRS_MAX = 64, LANE_BYTES = 16 * 1024, RESTART_MS_MIN = 20, RESTART_MS_MAX = 2000 };

// Bytes one way. A reader that stops makes the writer stop; the end of one way leaves the other open.
typedef struct {
  int from, to;
  bool has_ended, is_done;
  size_t start, length;
  char data[LANE_BYTES];
} lane;

typedef struct {
  bool is_used;
  lane there, back;
} pair;

static int listener = -1;
static pid_t forwarder = -1;
static int64_t started_at, restart_at, restart_ms = RESTART_MS_MIN;

static short lane_wants_in(const lane *l) { return !l->has_ended && l->length < LANE_BYTES ? POLLIN : 0; }
static short lane_wants_out(const lane *l) { return l->length > 0 ? POLLOUT : 0; }

static bool is_later(void) { return errno == EAGAIN || errno == EINTR; }

// Moves what can be moved. False when an end is broken.
static bool lane_step(lane *l) {
  if (!l->has_ended && l->length < LANE_BYTES) {
    if (l->start > 0) memmove(l->data, l->data + l->start, l->length);
    l->start = 0;
    ssize_t got = read(l->from, l->data + l->length, LANE_BYTES - l->length);
    if (got < 0 && !is_later()) return false;
    if (got == 0) l->has_ended = true;
    if (got > 0) l->length += (size_t)got;
  }
  if (l->length > 0) {
    ssize_t sent = write(l->to, l->data + l->start, l->length);
    if (sent < 0 && !is_later()) return false;
    if (sent > 0) {
      l->start += (size_t)sent;
      l->length -= (size_t)sent;
    }
  }
  if (l->has_ended && l->length == 0 && !l->is_done) {
    l->is_done = true;
    shutdown(l->to, SHUT_WR);
  }
  return true;
}

static struct pollfd to_poll(int fd, short events) {
  // A negative descriptor is passed over: one that hung up would otherwise wake us for ever.
  return (struct pollfd){events == 0 ? -1 : fd, events, 0};
}

static void accept_pair(pair pairs[PAIRS_MAX]) {
  pair *p = NULL;
  for (size_t i = 0; i < PAIRS_MAX && p == NULL; i++)
    if (!pairs[i].is_used) p = &pairs[i];
  int near = p == NULL ? -1 : accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (near < 0) return;
  int far = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = EGRESS_PATH};
  if (far < 0 || connect(far, (struct sockaddr *)&address, sizeof address) != 0) {
    if (far >= 0) close(far);
    close(near);
    return;
  }
  p->is_used = true;
  p->there = (lane){.from = near, .to = far};
  p->back = (lane){.from = far, .to = near};
}

static void forward(void) {
  static pair pairs[PAIRS_MAX];
  static struct pollfd polled[1 + 2 * PAIRS_MAX];
  for (;;) {
    bool has_room = false;
    for (size_t i = 0; i < PAIRS_MAX; i++) {
      pair *p = &pairs[i];
      has_room = has_room || !p->is_used;
      struct pollfd none = {-1, 0, 0};
      polled[1 + 2 * i] = !p->is_used ? none : to_poll(p->there.from, (short)(lane_wants_in(&p->there) | lane_wants_out(&p->back)));
      polled[2 + 2 * i] = !p->is_used ? none : to_poll(p->there.to, (short)(lane_wants_in(&p->back) | lane_wants_out(&p->there)));
    }
    polled[0] = to_poll(listener, has_room ? POLLIN : 0);
    if (poll(polled, 1 + 2 * PAIRS_MAX, -1) < 0 && errno != EINTR) _exit(1);
    for (size_t i = 0; i < PAIRS_MAX; i++) {
      pair *p = &pairs[i];
      if (!p->is_used || (polled[1 + 2 * i].revents == 0 && polled[2 + 2 * i].revents == 0)) continue;
      bool is_well = lane_step(&p->there) && lane_step(&p->back);
      if (is_well && !(p->there.is_done && p->back.is_done)) continue;
      close(p->there.from);
      close(p->there.to);
      p->is_used = false;
    }
    if (polled[0].revents != 0) accept_pair(pairs);
  }
}

static bool open_listener(void) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int yes = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(EGRESS_PORT), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, PAIRS_MAX) == 0) {
    listener = fd;
    return true;
  }
  if (fd >= 0) close(fd);
  return false;
}

void forward_check(void) {
  if (forwarder > 0 || now_ms() < restart_at || access(EGRESS_PATH, F_OK) != 0) return;
  restart_at = now_ms() + RESTART_MS_MAX;
  if (listener < 0 && !open_listener()) return;
  pid_t toolbox = getpid();
  forwarder = fork();
  if (forwarder != 0) {
    started_at = now_ms();
    return;
  }
  prctl(PR_SET_NAME, "egress-forward");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != toolbox) _exit(0);
  if (listener != 3) listener = dup2(listener, 3);
  close_range(4, ~0u, 0);
  forward();
}

void forward_reaped(pid_t pid) {
  if (pid != forwarder) return;
  forwarder = -1;
  // One that dies at once is started ever more seldom: something kills it in a loop, or there is no memory.
  bool lived = now_ms() - started_at > RESTART_MS_MAX;
  restart_ms = lived ? RESTART_MS_MIN : restart_ms * 2 > RESTART_MS_MAX ? RESTART_MS_MAX : restart_ms * 2;
  restart_at = now_ms() + restart_ms;
}

int forward_wait_ms(void) {
  if (forwarder > 0 || access(EGRESS_PATH, F_OK) != 0) return -1;
  int64_t left = restart_at - now_ms();
  return left < 0 ? 0 : (int)left;
}

void forward_stdio(int socket) {
  static lane there, back;
  there = (lane){.from = 0, .to = socket};
  back = (lane){.from = socket, .to = 1};
  for (int fd = 0; fd < 2; fd++) fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK);
  do {
    struct pollfd polled[3] = {
        to_poll(0, lane_wants_in(&there)),
        to_poll(socket, (short)(lane_wants_in(&back) | lane_wants_out(&there))),
        to_poll(1, lane_wants_out(&back)),
    };
    if (poll(polled, 3, -1) < 0 && errno != EINTR) return;
    if (!lane_step(&there) || !lane_step(&back)) return;
  } while (!back.is_done);
}
