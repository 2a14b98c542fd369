#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slots.h"

// Each program runs under a supervisor of its own that is a child subreaper: whatever it starts, however it detaches
// itself (setsid, double fork, an emptied environment), stays a descendant of that supervisor. The supervisor of a
// command goes when the command does, and what it left in the background runs on; that of a process or job stays, so
// that its tree can be ended.
enum { ROOM_MIN = 8 };

static int64_t read_number(const char *path) {
  char text[32] = "";
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  // "max" stands for no limit.
  return got > 0 && text[0] >= '0' && text[0] <= '9' ? atoll(text) : -1;
}

bool has_room(void) {
  static const char *const places[] = {"/sys/fs/cgroup/pids/", "/sys/fs/cgroup/"};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char most[64], now[64];
    snprintf(most, sizeof most, "%spids.max", places[i]);
    snprintf(now, sizeof now, "%spids.current", places[i]);
    int64_t limit = read_number(most), used = read_number(now);
    if (limit > 0 && used >= 0) return limit - used >= ROOM_MIN;
  }
  return true;
}

static void run_program(const int fds[3], int directory, char **argv, char **environment) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  // Readable again, which /proc/self asks for; and the first choice of the kernel when memory runs out, so that the
  // program dies and not the toolbox.
  prctl(PR_SET_DUMPABLE, 1);
  int adjust = open("/proc/self/oom_score_adj", O_WRONLY);
  if (adjust >= 0) (void)!write(adjust, "1000", 4);
  // Whoever kills the supervisor kills the program with it: nothing runs on that nobody can end.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setsid();
  bool is_ready = fchdir(directory) == 0;
  for (int i = 0; i < 3; i++) is_ready = dup2(fds[i], i) >= 0 && is_ready;
  close_range(3, ~0u, 0);
  for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) putenv(environment[i]);
  if (is_ready) execvp(argv[0], argv);
  dprintf(2, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

static void supervise(slot_kind kind, const int fds[3], int directory, char **argv, char **environment, int report) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  // Told from outside by its name: a container with a running job is not put to rest.
  if (kind == KIND_JOB) prctl(PR_SET_NAME, "switchyard-job");
  outcome result = {0, 0};
  pid_t program = fork();
  if (program == 0) run_program(fds, directory, argv, environment);
  if (program < 0) result.error = errno;
  // Holding the output's write end would keep the pipe open for ever.
  if (report != 3) report = dup2(report, 3);
  close_range(4, ~0u, 0);
  close_range(0, 2, 0);
  while (result.error == 0) {
    int status;
    pid_t ended = waitpid(-1, &status, 0);
    if (ended == program) {
      result.status = status;
      break;
    }
    if (ended < 0 && errno != EINTR) result.error = errno;
  }
  (void)!write(report, &result, sizeof result);
  // The tree keeps its root until somebody ends it.
  while (kind != KIND_COMMAND && result.error == 0) {
    if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD) pause();
  }
  _exit(0);
}

// A pipe whose end `ours` does not block.
static bool make_pipe(int ends[2], int ours) {
  return pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[ours], F_SETFL, O_NONBLOCK) == 0;
}

int slot_launch(slot *s, char **argv, char **environment, int directory) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, err[2] = {-1, -1}, report[2] = {-1, -1};
  bool has_input = s->kind != KIND_COMMAND || s->input.length > 0;
  int failed = 0;
  if (has_input ? !make_pipe(in, 1) : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) failed = errno;
  if (failed == 0 && (!make_pipe(out, 0) || !make_pipe(report, 0))) failed = errno;
  if (failed == 0 && s->kind == KIND_PROCESS && !make_pipe(err, 0)) failed = errno;
  if (failed == 0) {
    fflush(NULL);
    int fds[3] = {in[0], out[1], s->kind == KIND_PROCESS ? err[1] : out[1]};
    s->supervisor = fork();
    if (s->supervisor == 0) supervise(s->kind, fds, directory, argv, environment, report[1]);
    if (s->supervisor < 0) failed = errno;
  }
  slot_close(&in[0]);
  slot_close(&out[1]);
  slot_close(&err[1]);
  slot_close(&report[1]);
  s->in = in[1];
  s->out = out[0];
  s->err = err[0];
  s->status = report[0];
  return failed;
}
