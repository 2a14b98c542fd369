#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slots.h"
#include "tree.h"

// Each program runs under a supervisor of its own that is a child subreaper: whatever it starts, however it detaches
// itself (setsid, double fork, an emptied environment), stays a descendant of that supervisor. The supervisor of a
// command goes when the command does, and what it left in the background runs on; that of a process or job stays, so
// that its tree can be ended.
enum { ENDING_MS_MAX = 250, PASS_MS = 5, ROOM_MIN = 8, KILL_ROUNDS = 200, DRAIN_MS_MAX = 500, CREDIT_STEP = 64 * 1024 };

typedef struct {
  int error;
  int status;
} outcome;

slot slots[SLOTS_MAX];

void slot_close(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void clear(slot *s) {
  memset(s, 0, sizeof *s);
  s->out = s->err = s->in = s->status = -1;
}

static void close_all(slot *s) {
  slot_close(&s->out);
  slot_close(&s->err);
  slot_close(&s->in);
  slot_close(&s->status);
  buffer_drop(&s->input);
}

void slot_release(slot *s) {
  close_all(s);
  free(s->ring);
  free(s->label);
  clear(s);
}

// Reads what is there, at most `rounds` times. False at the end of the pipe.
static bool read_output(slot *s, int rounds) {
  static char data[64 * 1024];
  for (int i = 0; i < rounds && s->out >= 0; i++) {
    ssize_t got = read(s->out, data, sizeof data);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    if (s->kind == KIND_JOB) {
      s->beyond_head += got;
      s->recent_at = now_ms();
      output_keep_ring(s, data, (size_t)got);
    } else if (s->state != SLOT_DETACHED) {
      output_keep_command(s, data, (size_t)got);
    }
  }
  return true;
}

static void finish_command(slot *s) {
  bool is_open = read_output(s, 128);
  output_finish_command(s);
  if (!is_open || s->state == SLOT_ENDING) return slot_release(s);
  // A process left in the background still writes here: closing the pipe would end it at its next line.
  int out = s->out;
  s->out = -1;
  slot_release(s);
  s->out = out;
  s->state = SLOT_DETACHED;
}

static void tell_process_end(slot *s) {
  if (s->id > 0)
    wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"done\",\"ended\":\"%s\",\"code\":%d}", (long long)s->id, s->ended, s->code);
  slot_release(s);
}

// The program is gone, and for a process or job its whole tree.
static void finish(slot *s) {
  if (s->kind == KIND_COMMAND) return finish_command(s);
  if (s->supervisor > 0) kill(s->supervisor, SIGKILL);
  if (s->kind == KIND_JOB) {
    (void)read_output(s, 128);
    close_all(s);
    s->state = SLOT_OVER;
    s->over_at = now_ms();
    return;
  }
  if (strcmp(s->ended, "exit") != 0 || s->id <= 0) return tell_process_end(s);
  slot_close(&s->in);
  slot_close(&s->status);
  s->state = SLOT_DRAINING;
  s->drained_at = now_ms();
}

void slot_end(slot *s, const char *why) {
  // Its output is no longer wanted.
  if (s->kind == KIND_PROCESS && s->state != SLOT_RUNNING) s->ended = why;
  if (s->state == SLOT_DRAINING) return tell_process_end(s);
  if (s->state != SLOT_RUNNING) return;
  s->state = SLOT_ENDING;
  s->ended = why;
  s->ending_since = now_ms();
  // Stopped, not killed: while it stands, nothing of its tree can move to another parent.
  if (s->supervisor > 0) kill(s->supervisor, SIGSTOP);
}

static int64_t read_number(const char *path) {
  char text[32] = "";
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  // "max" stands for no limit.
  return got > 0 && text[0] >= '0' && text[0] <= '9' ? atoll(text) : -1;
}

// A program that starts within the last free processes of the limit could not start anything itself.
static bool has_room(void) {
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

void commands_kill_everything(void) {
  // One system call, no new process: it works when the process limit is used up, and it outruns a fork bomb.
  for (int i = 0; i < KILL_ROUNDS; i++) {
    kill(-1, SIGKILL);
    usleep(1000);
    reap();
    if (i >= 2 && has_room()) return;
  }
}

void commands_reaped(pid_t pid) {
  for (size_t i = 0; i < SLOTS_MAX; i++)
    if (slots[i].supervisor == pid) slots[i].supervisor = 0;
}

static void end_pass(slot *s) {
  bool is_gone = false;
  for (int i = 0; i < 3 && !is_gone; i++) is_gone = tree_kill(s->supervisor);
  if (!is_gone && now_ms() - s->ending_since > ENDING_MS_MAX) {
    commands_kill_everything();
    is_gone = true;
  }
  if (!is_gone) return;
  if (s->supervisor > 0) kill(s->supervisor, SIGKILL);
  finish(s);
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

static int launch(slot *s, char **argv, char **environment, int directory) {
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

static slot *free_slot(void) {
  for (size_t i = 0; i < COMMANDS_MAX; i++)
    if (slots[i].state == SLOT_FREE) return &slots[i];
  for (size_t i = 0; i < COMMANDS_MAX; i++)
    if (slots[i].state == SLOT_DETACHED) return slot_release(&slots[i]), &slots[i];
  return NULL;
}

// Resolves an operand and makes it the last argument; -errno on failure.
static int add_operand(const char *operand, char **argv, char resolved[4096]) {
  int failed = files_resolve(operand, false, resolved);
  size_t count = 0;
  while (argv[count] != NULL) count++;
  if (failed != 0 || count >= ITEMS_MAX) return failed != 0 ? failed : -E2BIG;
  argv[count] = resolved;
  argv[count + 1] = NULL;
  return 0;
}

// Starts what the request asks for in `s`; the errno, 0 when it runs.
static int start(slot *s, slot_kind kind, const request *from) {
  const object *header = &from->header;
  char **argv = json_list(header, "argv");
  char resolved[4096], last[4096];
  if (argv == NULL || argv[0] == NULL || json_number(header, "id", 0) <= 0) return EINVAL;
  if (!has_room()) return EAGAIN;
  int directory = files_resolve(json_text(header, "cwd"), false, resolved);
  if (directory == 0) directory = files_open(resolved, O_RDONLY | O_DIRECTORY);
  // -1 and errno from the kernel, -errno from the check: both end here.
  if (directory < 0) return directory == -1 ? errno : -directory;
  const char *operand = json_text(header, "operand");
  int failed = operand == NULL ? 0 : -add_operand(operand, argv, last);
  clear(s);
  s->kind = kind;
  s->input_ends = kind == KIND_COMMAND;
  s->credit = WINDOW_BYTES;
  s->ended = "exit";
  if (failed == 0 && kind == KIND_COMMAND) buffer_append(&s->input, from->body, from->body_length);
  if (failed == 0) failed = launch(s, argv, json_list(header, "env"), directory);
  close(directory);
  if (failed != 0) {
    slot_release(s);
    return failed;
  }
  s->state = SLOT_RUNNING;
  s->deadline = kind == KIND_PROCESS ? INT64_MAX : now_ms() + json_number(header, "timeoutMs", 60000);
  return 0;
}

void commands_start(const request *from) {
  int64_t id = json_number(&from->header, "id", 0), keep = json_number(&from->header, "keep", 65536);
  slot *s = free_slot();
  int failed = s == NULL ? EAGAIN : keep < 2 ? EINVAL : start(s, KIND_COMMAND, from);
  if (failed != 0) return wire_fail(id, failed);
  s->id = id;
  s->half = (size_t)(keep > (int64_t)BODY_OUT_MAX ? (int64_t)BODY_OUT_MAX : keep) / 2;
}

void commands_start_process(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  slot *s = free_slot();
  int failed = s == NULL ? EAGAIN : start(s, KIND_PROCESS, from);
  if (failed != 0) return wire_fail(id, failed);
  s->id = id;
  wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"started\"}", (long long)id);
}

void commands_start_job(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  slot *s = jobs_take();
  int failed = s == NULL ? EUSERS : start(s, KIND_JOB, from);
  if (failed != 0) return wire_fail(id, failed);
  jobs_began(s, id, json_text(&from->header, "label"));
}

static slot *find_process(const request *from) {
  int64_t target = json_number(&from->header, "target", 0);
  for (size_t i = 0; i < COMMANDS_MAX; i++)
    if (target > 0 && slots[i].id == target && slots[i].kind == KIND_PROCESS) return &slots[i];
  // It may have ended while the request was under way.
  return NULL;
}

static void tell_fed(slot *s) {
  if (s->kind != KIND_PROCESS || s->fed == 0 || (s->fed < CREDIT_STEP && s->input.length > 0)) return;
  wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"credit\",\"bytes\":%zu}", (long long)s->id, s->fed);
  s->fed = 0;
}

void commands_feed(const request *from) {
  slot *s = find_process(from);
  if (s == NULL) return;
  if (s->in < 0) s->fed += from->body_length;
  // More than the window would be a worker that does not count: it is held to it by dropping.
  else if (s->input.length + from->body_length <= WINDOW_BYTES) buffer_append(&s->input, from->body, from->body_length);
  s->input_ends = s->input_ends || json_number(&from->header, "end", 0) != 0;
  if (s->input_ends && s->input.length == 0) slot_close(&s->in);
  tell_fed(s);
}

void commands_credit(const request *from) {
  slot *s = find_process(from);
  if (s == NULL) return;
  int64_t bytes = json_number(&from->header, "bytes", 0);
  s->credit += bytes < 0 ? 0 : bytes;
  if (s->credit > (int64_t)WINDOW_BYTES) s->credit = WINDOW_BYTES;
  s->drained_at = now_ms();
}

void commands_cancel(const request *from) {
  int64_t target = json_number(&from->header, "target", 0);
  if (!jobs_cancel(target))
    for (size_t i = 0; i < COMMANDS_MAX; i++)
      if (slots[i].id == target && target > 0) slot_end(&slots[i], "cancelled");
  commands_expire();
}

void commands_end_all(void) {
  jobs_lose();
  for (size_t i = 0; i < COMMANDS_MAX; i++) {
    slots[i].id = 0;
    slot_end(&slots[i], "cancelled");
  }
}

static bool wants_output(const slot *s) {
  if (s->out < 0 || s->state == SLOT_ENDING) return false;
  if (s->kind == KIND_JOB || s->state == SLOT_DETACHED) return true;
  return !wire_is_full() && (s->kind == KIND_COMMAND || s->credit > 0);
}

size_t commands_poll(struct pollfd *into, size_t room) {
  size_t count = 0;
  for (size_t i = 0; i < SLOTS_MAX && count + 4 <= room; i++) {
    slot *s = &slots[i];
    if (s->state == SLOT_FREE || s->state == SLOT_OVER) continue;
    if (wants_output(s)) into[count++] = (struct pollfd){s->out, POLLIN, 0};
    if (s->err >= 0 && s->state != SLOT_ENDING && !wire_is_full()) into[count++] = (struct pollfd){s->err, POLLIN, 0};
    if (s->in >= 0 && s->input.length > 0) into[count++] = (struct pollfd){s->in, POLLOUT, 0};
    if (s->status >= 0 && s->state == SLOT_RUNNING) into[count++] = (struct pollfd){s->status, POLLIN, 0};
  }
  return count;
}

static void feed_input(slot *s) {
  ssize_t sent = write(s->in, s->input.data + s->input.start, s->input.length);
  bool is_refused = sent < 0 && errno != EAGAIN && errno != EINTR;
  size_t gone = is_refused ? s->input.length : sent < 0 ? 0 : (size_t)sent;
  s->fed += gone;
  buffer_consume(&s->input, gone);
  if (is_refused || (s->input_ends && s->input.length == 0)) slot_close(&s->in);
  tell_fed(s);
}

// What the supervisor says of the program; nothing: the supervisor itself was killed, by the agent or the kernel.
static void take_outcome(slot *s) {
  outcome result = {0, SIGKILL};
  if (read(s->status, &result, sizeof result) == (ssize_t)sizeof result && result.error != 0) {
    if (s->id > 0) wire_fail(s->id, result.error);
    if (s->kind != KIND_JOB) return slot_release(s);
    result.status = 127 << 8;
  }
  s->code = WIFEXITED(result.status) ? WEXITSTATUS(result.status) : 128 + WTERMSIG(result.status);
  if (s->kind == KIND_COMMAND) return finish(s);
  // What it left running ends with it.
  slot_end(s, "exit");
}

static void serve_output(slot *s, int *fd) {
  if (s->kind == KIND_PROCESS ? output_send_process(s, *fd) : read_output(s, 1)) return;
  slot_close(fd);
  if (s->state == SLOT_DETACHED) slot_release(s);
}

void commands_serve(const struct pollfd *polled, size_t count) {
  for (size_t p = 0; p < count; p++) {
    if (polled[p].revents == 0) continue;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
      slot *s = &slots[i];
      int fd = polled[p].fd;
      if (s->state == SLOT_FREE || s->state == SLOT_OVER) continue;
      if (fd == s->out) serve_output(s, &s->out);
      else if (fd == s->err) serve_output(s, &s->err);
      else if (fd == s->in) feed_input(s);
      else if (fd == s->status) take_outcome(s);
      else continue;
      break;
    }
  }
}

// A pipe of a process that is gone ends by itself, unless something that got away from its tree holds it open.
static bool is_drained(const slot *s, int64_t now) {
  if (s->out < 0 && s->err < 0) return true;
  return s->credit > 0 && !wire_is_full() && now - s->drained_at > DRAIN_MS_MAX;
}

int commands_wait_ms(void) {
  int64_t now = now_ms(), first = jobs_due(now);
  for (size_t i = 0; i < SLOTS_MAX; i++) {
    const slot *s = &slots[i];
    int64_t due = -1;
    if (s->state == SLOT_RUNNING) due = s->deadline;
    if (s->state == SLOT_ENDING) due = now + PASS_MS;
    if (s->state == SLOT_DRAINING) due = s->out < 0 && s->err < 0 ? now : s->drained_at + DRAIN_MS_MAX;
    // Held up by the worker: it is heard of.
    if (s->state == SLOT_DRAINING && due < now && !is_drained(s, now)) due = -1;
    if (due >= 0 && (first < 0 || due < first)) first = due;
  }
  int64_t wait = first < 0 ? -1 : first <= now ? 0 : first - now;
  return (int)(wait > 60000 ? 60000 : wait);
}

void commands_expire(void) {
  int64_t now = now_ms();
  for (size_t i = 0; i < SLOTS_MAX; i++) {
    slot *s = &slots[i];
    if (s->state == SLOT_RUNNING && s->deadline <= now) slot_end(s, "timeout");
    if (s->state == SLOT_ENDING) end_pass(s);
    if (s->state == SLOT_DRAINING && is_drained(s, now)) tell_process_end(s);
  }
  jobs_expire(now);
}
