#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "toolbox.h"

enum { DIAL_MS_MIN = 10, DIAL_MS_MAX = 500 };

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void handle(const request *from) {
  const char *op = json_text(&from->header, "op");
  int64_t id = json_number(&from->header, "id", 0);
  if (op == NULL) return wire_fail(id, EINVAL);
  if (strcmp(op, "exec") == 0) return commands_start(from);
  if (strcmp(op, "cancel") == 0) return commands_cancel(from);
  if (strcmp(op, "read") == 0) return files_read(from);
  if (strcmp(op, "write") == 0) return files_write(from);
  if (strcmp(op, "list") == 0) return files_list(from);
  if (strcmp(op, "killAll") == 0) commands_kill_everything();
  else if (strcmp(op, "ping") != 0) return wire_fail(id, ENOSYS);
  wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"done\"}", (long long)id);
}

// True when this process is now the one toolbox. Otherwise the one that runs is told to dial again: a worker that
// takes a session over starts the toolbox the same way as one that made the container.
static bool become_the_one(void) {
  int lock = open(LOCK_PATH, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (lock < 0) return false;
  char text[32] = "";
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    pid_t other = pread(lock, text, sizeof text - 1, 0) > 0 ? (pid_t)atoi(text) : 0;
    if (other > 1) kill(other, SIGHUP);
    return false;
  }
  int length = snprintf(text, sizeof text, "%d\n", (int)getpid());
  return ftruncate(lock, 0) == 0 && pwrite(lock, text, (size_t)length, 0) == length;
}

static int watch_signals(void) {
  sigset_t watched;
  sigemptyset(&watched);
  sigaddset(&watched, SIGCHLD);
  sigaddset(&watched, SIGHUP);
  signal(SIGPIPE, SIG_IGN);
  // A file that would grow above the limit is an error to report, not the end of this process.
  signal(SIGXFSZ, SIG_IGN);
  sigprocmask(SIG_BLOCK, &watched, NULL);
  return signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool take_signals(int fd) {
  bool must_redial = false;
  struct signalfd_siginfo info;
  while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) must_redial = must_redial || info.ssi_signo == SIGHUP;
  // Background processes whose parents are gone end here, being children of this subreaper.
  while (waitpid(-1, NULL, WNOHANG) > 0) continue;
  return must_redial;
}

static void lose_connection(void) {
  wire_close();
  // Nobody is left to take their results, and the worker that comes next must not find them still running.
  commands_end_all();
}

int main(void) {
  int signals = watch_signals();
  if (signals < 0 || !become_the_one()) return 0;
  // Other processes of the agent's user may then not read or write this one's memory through /proc.
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  if (!files_init()) return 1;
  int64_t dial_at = 0, dial_ms = DIAL_MS_MIN;
  for (;;) {
    if (wire_fd() < 0 && now_ms() >= dial_at) {
      dial_ms = dial_ms * 2 > DIAL_MS_MAX ? DIAL_MS_MAX : dial_ms * 2;
      dial_at = now_ms() + dial_ms;
      wire_dial();
    }
    struct pollfd polled[POLL_MAX] = {{signals, POLLIN, 0}, {wire_fd(), POLLIN, 0}};
    if (wire_has_unsent()) polled[1].events |= POLLOUT;
    size_t commands = commands_poll(polled + 2, POLL_MAX - 2);
    int wait = commands_wait_ms();
    int64_t to_dial = wire_fd() < 0 ? dial_at - now_ms() : -1;
    if (wire_fd() < 0 && (wait < 0 || to_dial < wait)) wait = to_dial < 0 ? 0 : (int)to_dial;
    if (poll(polled, 2 + commands, wait) < 0 && errno != EINTR) return 1;
    commands_serve(polled + 2, commands);
    commands_expire();
    bool must_redial = take_signals(signals) && !wire_is_current();
    bool is_alive = wire_fd() >= 0 && !must_redial;
    if (is_alive && polled[1].revents & (POLLIN | POLLHUP | POLLERR)) {
      is_alive = wire_receive(handle);
      if (is_alive) dial_ms = DIAL_MS_MIN;
    }
    if (is_alive) is_alive = wire_flush();
    if (wire_fd() >= 0 && !is_alive) lose_connection();
    if (must_redial) dial_at = 0;
  }
}
