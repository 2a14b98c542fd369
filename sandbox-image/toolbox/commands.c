#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "slots.h"
#include "tree.h"

// A command's end is waited for; the end of others may take longer on a busy machine before everything is ended.
enum { COMMAND_ENDING_MS = 250, OTHER_ENDING_MS = 2000, PASS_MS = 5, KILL_ROUNDS = 200, DRAIN_MS_MAX = 500, CREDIT_STEP = 64 * 1024 };

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
  if (!is_gone && now_ms() - s->ending_since > (s->kind == KIND_COMMAND ? COMMAND_ENDING_MS : OTHER_ENDING_MS)) {
    commands_kill_everything();
    is_gone = true;
  }
  if (!is_gone) return;
  if (s->supervisor > 0) kill(s->supervisor, SIGKILL);
  finish(s);
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
  if (failed == 0) failed = slot_launch(s, argv, json_list(header, "env"), directory);
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
