#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slots.h"

// Output kept of a job; memory is touched only as far as there is output.
enum { KEEP_BYTES = 512 * 1024, SETTLE_MS = 150, WAITERS_MAX = 32, WAIT_MS_MAX = 600000 };

// A request that waits for output of a job or for its end.
typedef struct {
  int64_t id;  // 0: unused
  slot *job;
  int64_t offset, bytes, until;
  bool is_stop;
} waiter;

static waiter waiters[WAITERS_MAX];
static int64_t last_job;

static slot *find_job(const request *from) {
  int64_t number = json_number(&from->header, "job", 0);
  for (size_t i = COMMANDS_MAX; i < SLOTS_MAX; i++)
    if (slots[i].state != SLOT_FREE && slots[i].job == number) return &slots[i];
  return NULL;
}

slot *jobs_take(void) {
  slot *found = NULL;
  size_t running = 0;
  for (size_t i = COMMANDS_MAX; i < SLOTS_MAX; i++) {
    slot *s = &slots[i];
    if (s->state == SLOT_RUNNING || s->state == SLOT_ENDING) running++;
    if (s->state == SLOT_FREE && (found == NULL || found->state != SLOT_FREE)) found = s;
    if (s->state == SLOT_OVER && (found == NULL || (found->state == SLOT_OVER && s->job < found->job))) found = s;
  }
  if (running >= JOBS_RUNNING_MAX || found == NULL) return NULL;
  // The oldest that ended makes room.
  if (found->state == SLOT_OVER) slot_release(found);
  return found;
}

void jobs_began(slot *s, int64_t id, const char *label) {
  s->job = ++last_job;
  s->began = now_ms();
  s->half = KEEP_BYTES;
  s->label = strndup(label == NULL ? "" : label, LABEL_BYTES);
  wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"done\",\"job\":%lld}", (long long)id, (long long)s->job);
}

static int64_t run_ms(const slot *s) { return (s->state == SLOT_OVER ? s->over_at : now_ms()) - s->began; }

static void answer(const waiter *w) {
  slot *s = w->job;
  int64_t total = s->beyond_head, oldest = total - (int64_t)s->ring_length;
  int64_t from = w->offset < oldest ? oldest : w->offset > total ? total : w->offset;
  size_t length = (size_t)(total - from < w->bytes ? total - from : w->bytes);
  const char *label = s->label == NULL ? "" : s->label;
  size_t label_length = strlen(label) + 1;
  char *body = must(malloc(label_length + length));
  memcpy(body, label, label_length);
  output_copy_ring(s, (size_t)(from - oldest), body + label_length, length);
  bool is_over = s->state == SLOT_OVER;
  wire_send(body, label_length + length,
            "{\"id\":%lld,\"kind\":\"done\",\"job\":%lld,\"state\":\"%s\",\"ended\":\"%s\",\"code\":%d,\"runMs\":%lld,"
            "\"total\":%lld,\"offset\":%lld}",
            (long long)w->id, (long long)s->job, is_over ? "ended" : "running", s->ended, is_over ? s->code : 0,
            (long long)run_ms(s), (long long)total, (long long)from);
  free(body);
}

// When the request is to be answered; now or before that: at once.
static int64_t due_at(const waiter *w, int64_t now) {
  const slot *s = w->job;
  if (s->state == SLOT_OVER) return now;
  if (w->is_stop || s->beyond_head <= w->offset) return w->until;
  if (s->beyond_head - w->offset >= w->bytes) return now;
  // A line seldom comes alone.
  int64_t settled = s->recent_at + SETTLE_MS;
  return settled < w->until ? settled : w->until;
}

static void wait_for(waiter made) {
  if (due_at(&made, now_ms()) <= now_ms()) return answer(&made);
  for (size_t i = 0; i < WAITERS_MAX; i++) {
    if (waiters[i].id != 0) continue;
    waiters[i] = made;
    return;
  }
  answer(&made);
}

static int64_t until(const request *from) {
  int64_t wait = json_number(&from->header, "waitMs", 0);
  return now_ms() + (wait < 0 ? 0 : wait > WAIT_MS_MAX ? WAIT_MS_MAX : wait);
}

void jobs_read(const request *from) {
  int64_t id = json_number(&from->header, "id", 0), bytes = json_number(&from->header, "bytes", 0);
  int64_t offset = json_number(&from->header, "offset", 0);
  slot *s = find_job(from);
  if (s == NULL) return wire_fail(id, ESRCH);
  bytes = bytes < 0 ? 0 : bytes > KEEP_BYTES ? KEEP_BYTES : bytes;
  wait_for((waiter){id, s, offset < 0 ? 0 : offset, bytes, until(from), false});
}

void jobs_write(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  slot *s = find_job(from);
  if (s == NULL) return wire_fail(id, ESRCH);
  if (s->state != SLOT_RUNNING || s->in < 0 || s->input_ends) return wire_fail(id, EPIPE);
  if (s->input.length + from->body_length > WINDOW_BYTES) return wire_fail(id, EAGAIN);
  buffer_append(&s->input, from->body, from->body_length);
  s->input_ends = json_number(&from->header, "end", 0) != 0;
  if (s->input_ends && s->input.length == 0) slot_close(&s->in);
  wire_done(id);
}

void jobs_stop(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  slot *s = find_job(from);
  if (s == NULL) return wire_fail(id, ESRCH);
  slot_end(s, "cancelled");
  wait_for((waiter){id, s, INT64_MAX, 0, until(from), true});
}

void jobs_list(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  slot *sorted[JOBS_MAX];
  size_t count = 0;
  for (size_t i = COMMANDS_MAX; i < SLOTS_MAX; i++) {
    if (slots[i].state == SLOT_FREE) continue;
    size_t at = count++;
    for (; at > 0 && sorted[at - 1]->job > slots[i].job; at--) sorted[at] = sorted[at - 1];
    sorted[at] = &slots[i];
  }
  buffer body = {0};
  for (size_t i = 0; i < count; i++) {
    slot *s = sorted[i];
    char head[128];
    bool is_over = s->state == SLOT_OVER;
    int length = snprintf(head, sizeof head, "%lld %c %d %lld %lld ", (long long)s->job, is_over ? s->ended[0] : 'r',
                          is_over ? s->code : 0, (long long)run_ms(s), (long long)s->beyond_head);
    buffer_append(&body, head, (size_t)length);
    const char *label = s->label == NULL ? "" : s->label;
    // The NUL parts the entries: it is the one byte no command can hold.
    buffer_append(&body, label, strlen(label) + 1);
  }
  wire_send(body.data + body.start, body.length, "{\"id\":%lld,\"kind\":\"done\"}", (long long)id);
  buffer_drop(&body);
}

bool jobs_cancel(int64_t id) {
  for (size_t i = 0; i < WAITERS_MAX; i++) {
    if (waiters[i].id != id || id <= 0) continue;
    waiters[i].until = 0;
    return true;
  }
  return false;
}

void jobs_lose(void) { memset(waiters, 0, sizeof waiters); }

int64_t jobs_due(int64_t now) {
  int64_t first = -1;
  for (size_t i = 0; i < WAITERS_MAX; i++) {
    if (waiters[i].id == 0) continue;
    int64_t due = due_at(&waiters[i], now);
    if (first < 0 || due < first) first = due;
  }
  return first;
}

void jobs_expire(int64_t now) {
  for (size_t i = 0; i < WAITERS_MAX; i++) {
    if (waiters[i].id == 0 || due_at(&waiters[i], now) > now) continue;
    answer(&waiters[i]);
    waiters[i].id = 0;
  }
}
