#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "toolbox.h"

enum { KEPT_MAX = 256 * 1024 };

void *must(void *memory) {
  if (memory == NULL) _exit(70);
  return memory;
}

void buffer_reserve(buffer *b, size_t more) {
  if (b->start > 0 && b->start + b->length + more > b->room) {
    memmove(b->data, b->data + b->start, b->length);
    b->start = 0;
  }
  size_t wanted = b->length + more;
  if (wanted <= b->room) return;
  // Doubling, so that a large frame that comes in pieces is not copied for each of them.
  b->room = wanted * 2;
  b->data = must(realloc(b->data, b->room));
}

void buffer_append(buffer *b, const void *data, size_t length) {
  if (length == 0) return;
  buffer_reserve(b, length);
  memcpy(b->data + b->start + b->length, data, length);
  b->length += length;
}

void buffer_consume(buffer *b, size_t length) {
  b->start += length;
  b->length -= length;
  if (b->length > 0) return;
  b->start = 0;
  // A large frame must not hold its memory for the rest of the session.
  if (b->room > KEPT_MAX) buffer_drop(b);
}

void buffer_drop(buffer *b) {
  free(b->data);
  memset(b, 0, sizeof *b);
}
