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

#include "toolbox.h"
#include "tree.h"

// Each command runs under a supervisor of its own that is a child subreaper: whatever the command starts, however it
// detaches itself (setsid, double fork, an emptied environment), stays a descendant of that supervisor.
enum { COMMANDS_MAX = 64, RECENT_BYTES = 2048, RECENT_EVERY_MS = 250, ENDING_MS_MAX = 250, PASS_MS = 5, ROOM_MIN = 8, KILL_ROUNDS = 200 };

typedef enum { SLOT_FREE, SLOT_RUNNING, SLOT_ENDING, SLOT_DETACHED } slot_state;

typedef struct {
  slot_state state;
  int64_t id;  // 0: nobody waits for the result any more
  pid_t supervisor;
  int out, in, status;
  const char *ended;
  int64_t deadline, ending_since, recent_at;
  char *input;
  size_t input_length, input_done;
  // Output: the first `half` bytes go out at once, the last `half` are kept in a ring, what lies between is counted.
  size_t half, head, ring_at, ring_length;
  int64_t beyond_head;
  char *ring;
} slot;

typedef struct {
  int error;
  int status;
} outcome;

static slot slots[COMMANDS_MAX];

static void close_fd(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static void clear(slot *s) {
  memset(s, 0, sizeof *s);
  s->out = s->in = s->status = -1;
}

static void release(slot *s) {
  close_fd(&s->out);
  close_fd(&s->in);
  close_fd(&s->status);
  free(s->input);
  free(s->ring);
  clear(s);
}

static void keep_output(slot *s, const char *data, size_t length) {
  size_t head = s->half - s->head < length ? s->half - s->head : length;
  if (head > 0) {
    if (s->id > 0) wire_send(data, head, "{\"id\":%lld,\"kind\":\"output\"}", (long long)s->id);
    s->head += head;
    data += head;
    length -= head;
  }
  if (length == 0) return;
  s->beyond_head += (int64_t)length;
  int64_t now = now_ms();
  if (s->id > 0 && now - s->recent_at >= RECENT_EVERY_MS) {
    size_t recent = length < RECENT_BYTES ? length : RECENT_BYTES;
    wire_send(data + length - recent, recent, "{\"id\":%lld,\"kind\":\"recent\"}", (long long)s->id);
    s->recent_at = now;
  }
  if (s->ring == NULL && (s->ring = malloc(s->half)) == NULL) return;
  if (length > s->half) {
    data += length - s->half;
    length = s->half;
  }
  size_t first = s->half - s->ring_at < length ? s->half - s->ring_at : length;
  memcpy(s->ring + s->ring_at, data, first);
  memcpy(s->ring, data + first, length - first);
  s->ring_at = (s->ring_at + length) % s->half;
  s->ring_length = s->ring_length + length > s->half ? s->half : s->ring_length + length;
}

// Reads what is there, at most `rounds` times. False at the end of the pipe.
static bool read_output(slot *s, int rounds) {
  static char data[64 * 1024];
  for (int i = 0; i < rounds && s->out >= 0; i++) {
    ssize_t got = read(s->out, data, sizeof data);
    if (got > 0 && s->state != SLOT_DETACHED) keep_output(s, data, (size_t)got);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    if (got <= 0) return false;
  }
  return true;
}

static void finish(slot *s, int wait_status) {
  bool is_open = read_output(s, 128);
  if (s->id > 0) {
    int code = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
    char *tail = s->ring_length == 0 ? NULL : malloc(s->ring_length);
    size_t tail_length = tail == NULL ? 0 : s->ring_length;
    if (tail != NULL) {
      size_t start = (s->ring_at + s->half - s->ring_length) % s->half;
      size_t first = s->half - start < s->ring_length ? s->half - start : s->ring_length;
      memcpy(tail, s->ring + start, first);
      memcpy(tail + first, s->ring, s->ring_length - first);
    }
    wire_send(tail, tail_length, "{\"id\":%lld,\"kind\":\"done\",\"ended\":\"%s\",\"code\":%d,\"dropped\":%lld}",
              (long long)s->id, s->ended, code, (long long)(s->beyond_head - (int64_t)tail_length));
    free(tail);
  }
  if (!is_open || s->state == SLOT_ENDING) return release(s);
  // A process left in the background still writes here: closing the pipe would end it at its next line.
  int out = s->out;
  s->out = -1;
  release(s);
  s->out = out;
  s->state = SLOT_DETACHED;
}

static void begin_end(slot *s, const char *why) {
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

// A command that starts within the last free processes of the limit could not start anything itself.
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
    while (waitpid(-1, NULL, WNOHANG) > 0) continue;
    if (i >= 2 && has_room()) return;
  }
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
  finish(s, SIGKILL);
}

static void run_command(const int fds[3], int directory, char **argv) {
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
  // Readable again, which /proc/self asks for; and the first choice of the kernel when memory runs out, so that the
  // command dies and not the toolbox.
  prctl(PR_SET_DUMPABLE, 1);
  int adjust = open("/proc/self/oom_score_adj", O_WRONLY);
  if (adjust >= 0) (void)!write(adjust, "1000", 4);
  setsid();
  bool is_ready = fchdir(directory) == 0;
  for (int i = 0; i < 3; i++) is_ready = dup2(fds[i], i) >= 0 && is_ready;
  close_range(3, ~0u, 0);
  if (is_ready) execvp(argv[0], argv);
  dprintf(2, "%s: %s\n", argv[0], strerror(errno));
  _exit(127);
}

static void supervise(const int fds[3], int directory, char **argv, int report) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  outcome result = {0, 0};
  pid_t command = fork();
  if (command == 0) run_command(fds, directory, argv);
  if (command < 0) result.error = errno;
  // Holding the output's write end would keep the pipe open for ever.
  if (report != 3) report = dup2(report, 3);
  close_range(4, ~0u, 0);
  close_range(0, 2, 0);
  while (result.error == 0) {
    int status;
    pid_t ended = waitpid(-1, &status, 0);
    if (ended == command) {
      result.status = status;
      break;
    }
    if (ended < 0 && errno != EINTR) result.error = errno;
  }
  (void)!write(report, &result, sizeof result);
  _exit(0);
}

static int start(slot *s, char **argv, int directory, const request *from) {
  int in[2] = {-1, -1}, out[2] = {-1, -1}, report[2] = {-1, -1};
  bool has_input = from->body_length > 0;
  int failed = 0;
  if (has_input ? pipe2(in, O_CLOEXEC) != 0 : (in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0) failed = errno;
  if (failed == 0 && (pipe2(out, O_CLOEXEC) != 0 || pipe2(report, O_CLOEXEC) != 0)) failed = errno;
  if (failed == 0 && has_input && (s->input = malloc(from->body_length)) == NULL) failed = ENOMEM;
  if (failed == 0) {
    fflush(NULL);
    s->supervisor = fork();
    if (s->supervisor == 0) supervise((int[3]){in[0], out[1], out[1]}, directory, argv, report[1]);
    if (s->supervisor < 0) failed = errno;
  }
  close_fd(&in[0]);
  close_fd(&out[1]);
  close_fd(&report[1]);
  if (failed != 0) {
    close_fd(&in[1]);
    close_fd(&out[0]);
    close_fd(&report[0]);
    return failed;
  }
  fcntl(out[0], F_SETFL, O_NONBLOCK);
  fcntl(report[0], F_SETFL, O_NONBLOCK);
  if (has_input) {
    fcntl(in[1], F_SETFL, O_NONBLOCK);
    memcpy(s->input, from->body, from->body_length);
    s->input_length = from->body_length;
  }
  s->in = in[1];
  s->out = out[0];
  s->status = report[0];
  return 0;
}

static slot *free_slot(void) {
  for (size_t i = 0; i < COMMANDS_MAX; i++)
    if (slots[i].state == SLOT_FREE) return &slots[i];
  for (size_t i = 0; i < COMMANDS_MAX; i++)
    if (slots[i].state == SLOT_DETACHED) return release(&slots[i]), &slots[i];
  return NULL;
}

void commands_start(const request *from) {
  const object *header = &from->header;
  int64_t id = json_number(header, "id", 0), keep = json_number(header, "keep", 65536);
  char **argv = json_list(header, "argv");
  char resolved[4096], last[4096];
  slot *s = free_slot();
  if (s == NULL || argv == NULL || argv[0] == NULL || id <= 0 || keep < 2) return wire_fail(id, s == NULL ? EAGAIN : EINVAL);
  if (!has_room()) return wire_fail(id, EAGAIN);
  int directory = files_resolve(json_text(header, "cwd"), false, resolved);
  if (directory == 0) directory = files_open(resolved, O_RDONLY | O_DIRECTORY);
  // -1 and errno from the kernel, -errno from the check: both end here.
  if (directory < 0) return wire_fail(id, directory == -1 ? errno : -directory);
  const char *operand = json_text(header, "operand");
  if (operand != NULL) {
    int failed = files_resolve(operand, false, last);
    size_t count = 0;
    while (argv[count] != NULL) count++;
    if (failed != 0 || count >= ITEMS_MAX) {
      close(directory);
      return wire_fail(id, failed != 0 ? -failed : E2BIG);
    }
    argv[count] = last;
    argv[count + 1] = NULL;
  }
  clear(s);
  s->half = (size_t)(keep > (int64_t)BODY_OUT_MAX ? (int64_t)BODY_OUT_MAX : keep) / 2;
  int failed = start(s, argv, directory, from);
  close(directory);
  if (failed != 0) {
    release(s);
    return wire_fail(id, failed);
  }
  s->id = id;
  s->state = SLOT_RUNNING;
  s->ended = "exit";
  s->deadline = now_ms() + json_number(header, "timeoutMs", 60000);
}

void commands_cancel(const request *from) {
  int64_t target = json_number(&from->header, "target", 0);
  for (size_t i = 0; i < COMMANDS_MAX; i++)
    if (slots[i].id == target && target > 0) begin_end(&slots[i], "cancelled");
  commands_expire();
}

void commands_end_all(void) {
  for (size_t i = 0; i < COMMANDS_MAX; i++) {
    slots[i].id = 0;
    begin_end(&slots[i], "cancelled");
  }
}

size_t commands_poll(struct pollfd *into, size_t room) {
  size_t count = 0;
  for (size_t i = 0; i < COMMANDS_MAX && count + 3 <= room; i++) {
    slot *s = &slots[i];
    if (s->state == SLOT_FREE) continue;
    if (s->out >= 0 && (s->state == SLOT_DETACHED || !wire_is_full())) into[count++] = (struct pollfd){s->out, POLLIN, 0};
    if (s->in >= 0) into[count++] = (struct pollfd){s->in, POLLOUT, 0};
    if (s->status >= 0 && s->state == SLOT_RUNNING) into[count++] = (struct pollfd){s->status, POLLIN, 0};
  }
  return count;
}

static void feed_input(slot *s) {
  ssize_t sent = write(s->in, s->input + s->input_done, s->input_length - s->input_done);
  if (sent > 0) s->input_done += (size_t)sent;
  bool is_over = s->input_done == s->input_length || (sent < 0 && errno != EAGAIN && errno != EINTR);
  if (is_over) close_fd(&s->in);
}

static void serve(slot *s, int fd) {
  if (fd == s->out) {
    if (read_output(s, 1)) return;
    close_fd(&s->out);
    if (s->state == SLOT_DETACHED) release(s);
  } else if (fd == s->in) {
    feed_input(s);
  } else if (fd == s->status) {
    outcome result = {0, SIGKILL};
    // Nothing to read: the supervisor itself was killed, by the command or by the kernel.
    if (read(fd, &result, sizeof result) == (ssize_t)sizeof result && result.error != 0) {
      if (s->id > 0) wire_fail(s->id, result.error);
      return release(s);
    }
    finish(s, result.status);
  }
}

void commands_serve(const struct pollfd *polled, size_t count) {
  for (size_t p = 0; p < count; p++) {
    if (polled[p].revents == 0) continue;
    for (size_t i = 0; i < COMMANDS_MAX; i++) {
      slot *s = &slots[i];
      bool is_its = s->state != SLOT_FREE && (s->out == polled[p].fd || s->in == polled[p].fd || s->status == polled[p].fd);
      if (!is_its) continue;
      serve(s, polled[p].fd);
      break;
    }
  }
}

int commands_wait_ms(void) {
  int64_t now = now_ms(), wait = -1;
  for (size_t i = 0; i < COMMANDS_MAX; i++) {
    if (slots[i].state != SLOT_RUNNING && slots[i].state != SLOT_ENDING) continue;
    int64_t left = slots[i].state == SLOT_ENDING ? PASS_MS : slots[i].deadline > now ? slots[i].deadline - now : 0;
    if (wait < 0 || left < wait) wait = left;
  }
  return (int)(wait > 60000 ? 60000 : wait);
}

void commands_expire(void) {
  int64_t now = now_ms();
  for (size_t i = 0; i < COMMANDS_MAX; i++) {
    if (slots[i].state == SLOT_RUNNING && slots[i].deadline <= now) begin_end(&slots[i], "timeout");
    if (slots[i].state == SLOT_ENDING) end_pass(&slots[i]);
  }
}
