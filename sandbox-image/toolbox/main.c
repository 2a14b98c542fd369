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
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "slots.h"

enum { DIAL_MS_MIN = 10, DIAL_MS_MAX = 500, JOIN_MS_MAX = 3000 };

int64_t now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void ping(const request *from) { wire_done(json_number(&from->header, "id", 0)); }

static void kill_all(const request *from) {
  commands_kill_everything();
  ping(from);
}

static void handle(const request *from) {
  static const struct {
    const char *op;
    void (*serve)(const request *);
  } served[] = {
      {"exec", commands_start},     {"start", commands_start_process}, {"feed", commands_feed},
      {"credit", commands_credit},  {"cancel", commands_cancel},       {"jobStart", commands_start_job},
      {"jobRead", jobs_read},       {"jobWrite", jobs_write},          {"jobStop", jobs_stop},
      {"jobList", jobs_list},       {"read", files_read},              {"list", files_list},
      {"write", edit_write},        {"move", edit_move},               {"delete", edit_delete},
      {"killAll", kill_all},        {"ping", ping},
  };
  const char *op = json_text(&from->header, "op");
  for (size_t i = 0; op != NULL && i < sizeof served / sizeof *served; i++)
    if (strcmp(op, served[i].op) == 0) return served[i].serve(from);
  wire_fail(json_number(&from->header, "id", 0), op == NULL ? EINVAL : ENOSYS);
}

void reap(void) {
  pid_t pid;
  while ((pid = waitpid(-1, NULL, WNOHANG)) > 0) {
    commands_reaped(pid);
    forward_reaped(pid);
  }
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
  // Background processes whose parents are gone end here, too, being children of this subreaper.
  reap();
  return must_redial;
}

static void lose_connection(void) {
  wire_close();
  // Nobody is left to take their results, and the worker that comes next must not find them still running.
  commands_end_all();
}

// Waits for workers that come through --stdio; the descriptor, or -1.
static int open_control(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL_PATH};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink(CONTROL_PATH);
  if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 8) == 0) return fd;
  return -1;
}

// The newest worker is the one that counts.
static void take_worker(int control) {
  int fd = accept4(control, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (wire_fd() >= 0) lose_connection();
  wire_adopt(fd);
}

static int sooner(int a, int64_t b) { return b < 0 || (a >= 0 && a < b) ? a : (int)b; }

// Serves for ever. With `control` workers come through that socket, otherwise they are dialled.
static int serve(int signals, int control) {
  int64_t dial_at = 0, dial_ms = DIAL_MS_MIN;
  for (;;) {
    forward_check();
    if (control < 0 && wire_fd() < 0 && now_ms() >= dial_at) {
      dial_ms = dial_ms * 2 > DIAL_MS_MAX ? DIAL_MS_MAX : dial_ms * 2;
      dial_at = now_ms() + dial_ms;
      wire_dial();
    }
    struct pollfd polled[POLL_MAX] = {{signals, POLLIN, 0}, {control, POLLIN, 0}, {wire_fd(), wire_events(), 0}};
    size_t commands = commands_poll(polled + 3, POLL_MAX - 3);
    int wait = sooner(commands_wait_ms(), forward_wait_ms());
    int64_t to_dial = dial_at - now_ms();
    if (control < 0 && wire_fd() < 0) wait = sooner(wait, to_dial < 0 ? 0 : to_dial);
    if (poll(polled, 3 + commands, wait) < 0 && errno != EINTR) return 1;
    commands_serve(polled + 3, commands);
    commands_expire();
    bool must_redial = take_signals(signals) && control < 0 && !wire_is_current();
    bool is_alive = wire_fd() >= 0 && !must_redial;
    if (is_alive && polled[2].revents & (POLLIN | POLLHUP | POLLERR)) {
      is_alive = wire_receive(handle);
      if (is_alive) dial_ms = DIAL_MS_MIN;
    }
    if (is_alive) is_alive = wire_flush();
    if (wire_fd() >= 0 && !is_alive) lose_connection();
    if (must_redial) dial_at = 0;
    if (polled[1].revents != 0) take_worker(control);
  }
}

static int run_toolbox(bool is_dialling) {
  int signals = watch_signals();
  if (signals < 0 || !become_the_one()) return 0;
  // Other processes of the agent's user may then not read or write this one's memory through /proc.
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  int control = is_dialling ? -1 : open_control();
  if (!files_init() || (!is_dialling && control < 0)) return 1;
  return serve(signals, control);
}

// Starts the toolbox in the background, detached from these standard streams.
static void start_toolbox(void) {
  if (fork() != 0) return;
  setsid();
  int none = open("/dev/null", O_RDWR);
  for (int fd = 0; fd < 3; fd++) dup2(none, fd);
  if (none > 2) close(none);
  _exit(run_toolbox(false));
}

static int join_stdio(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = CONTROL_PATH};
  signal(SIGPIPE, SIG_IGN);
  start_toolbox();
  for (int64_t until = now_ms() + JOIN_MS_MAX; now_ms() < until; usleep(5000)) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
      forward_stdio(fd);
      return 0;
    }
    if (fd >= 0) close(fd);
  }
  return 1;
}

int main(int count, char **arguments) {
  // Whatever is opened later must not become a standard stream.
  int fd;
  do fd = open("/dev/null", O_RDWR);
  while (fd >= 0 && fd < 3);
  if (fd >= 3) close(fd);
  if (count == 2 && strcmp(arguments[1], "--stdio") == 0) return join_stdio();
  return count == 1 ? run_toolbox(true) : 2;
}
