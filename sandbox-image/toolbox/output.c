#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "slots.h"

enum { RECENT_BYTES = 2048, RECENT_EVERY_MS = 250, ERR_FRAME_BYTES = 4096, ERR_BYTES_PER_SECOND = 16 * 1024 };

static char data[64 * 1024];

void output_keep_ring(slot *s, const char *from, size_t length) {
  if (s->ring == NULL && (s->ring = malloc(s->half)) == NULL) return;
  if (length > s->half) {
    from += length - s->half;
    length = s->half;
  }
  size_t first = s->half - s->ring_at < length ? s->half - s->ring_at : length;
  memcpy(s->ring + s->ring_at, from, first);
  memcpy(s->ring, from + first, length - first);
  s->ring_at = (s->ring_at + length) % s->half;
  s->ring_length = s->ring_length + length > s->half ? s->half : s->ring_length + length;
}

void output_copy_ring(const slot *s, size_t skip, char *to, size_t length) {
  if (length == 0) return;
  size_t start = (s->ring_at + s->half - s->ring_length + skip) % s->half;
  size_t first = s->half - start < length ? s->half - start : length;
  memcpy(to, s->ring + start, first);
  memcpy(to + first, s->ring, length - first);
}

void output_keep_command(slot *s, const char *from, size_t length) {
  size_t head = s->half - s->head < length ? s->half - s->head : length;
  if (head > 0) {
    if (s->id > 0) wire_send(from, head, "{\"id\":%lld,\"kind\":\"output\"}", (long long)s->id);
    s->head += head;
    from += head;
    length -= head;
  }
  if (length == 0) return;
  s->beyond_head += (int64_t)length;
  int64_t now = now_ms();
  if (s->id > 0 && now - s->recent_at >= RECENT_EVERY_MS) {
    size_t recent = length < RECENT_BYTES ? length : RECENT_BYTES;
    wire_send(from + length - recent, recent, "{\"id\":%lld,\"kind\":\"recent\"}", (long long)s->id);
    s->recent_at = now;
  }
  output_keep_ring(s, from, length);
}

void output_finish_command(slot *s) {
  if (s->id <= 0) return;
  char *tail = s->ring_length == 0 ? NULL : malloc(s->ring_length);
  size_t length = tail == NULL ? 0 : s->ring_length;
  output_copy_ring(s, 0, tail, length);
  wire_send(tail, length, "{\"id\":%lld,\"kind\":\"done\",\"ended\":\"%s\",\"code\":%d,\"dropped\":%lld}", (long long)s->id,
            s->ended, s->code, (long long)(s->beyond_head - (int64_t)length));
  free(tail);
}

bool output_send_process(slot *s, int fd) {
  bool is_err = fd == s->err;
  size_t room = sizeof data;
  if (!is_err && s->credit < (int64_t)room) room = (size_t)s->credit;
  if (room == 0) return true;
  ssize_t got = read(fd, data, room);
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  if (got == 0) return false;
  int64_t now = now_ms();
  s->drained_at = now;
  if (!is_err) {
    s->credit -= got;
    wire_send(data, (size_t)got, "{\"id\":%lld,\"kind\":\"stdout\"}", (long long)s->id);
    return true;
  }
  // Diagnostics have no credit: nobody may be held up by them, and nobody is flooded by them.
  if (now / 1000 != s->err_second) {
    s->err_second = now / 1000;
    s->err_bytes = 0;
  }
  for (size_t at = 0; at < (size_t)got && s->err_bytes < ERR_BYTES_PER_SECOND;) {
    size_t part = (size_t)got - at < ERR_FRAME_BYTES ? (size_t)got - at : ERR_FRAME_BYTES;
    wire_send(data + at, part, "{\"id\":%lld,\"kind\":\"stderr\"}", (long long)s->id);
    s->err_bytes += part;
    at += part;
  }
  return true;
}
