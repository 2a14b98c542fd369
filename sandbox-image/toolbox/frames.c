#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "toolbox.h"

static int connection = -1;
static struct stat dialled;
static buffer incoming, outgoing;

// Renaming a new socket over the old one changes the inode, a reused inode number comes with another change time.
static bool is_same_socket(const struct stat *a, const struct stat *b) {
  return a->st_ino == b->st_ino && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

bool wire_is_current(void) {
  struct stat now;
  return connection >= 0 && stat(SOCKET_PATH, &now) == 0 && is_same_socket(&now, &dialled);
}

bool wire_dial(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return false;
  // Before connecting: a socket that is replaced in between then counts as outdated, which costs one more dial.
  if (stat(SOCKET_PATH, &dialled) != 0) memset(&dialled, 0, sizeof dialled);
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = SOCKET_PATH};
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    return false;
  }
  wire_adopt(fd);
  return true;
}

void wire_adopt(int fd) {
  connection = fd;
  wire_send(NULL, 0, "{\"hello\":\"switchyard-toolbox\",\"version\":%d}", PROTOCOL_VERSION);
}

void wire_close(void) {
  if (connection >= 0) close(connection);
  connection = -1;
  buffer_drop(&incoming);
  buffer_drop(&outgoing);
}

int wire_fd(void) { return connection; }
bool wire_is_full(void) { return outgoing.length > UNSENT_MAX; }

short wire_events(void) {
  return (short)((outgoing.length > UNSENT_DEAF ? 0 : POLLIN) | (outgoing.length > 0 ? POLLOUT : 0));
}

bool wire_flush(void) {
  while (outgoing.length > 0) {
    ssize_t sent = send(connection, outgoing.data + outgoing.start, outgoing.length, MSG_NOSIGNAL);
    if (sent < 0) return errno == EAGAIN || errno == EINTR;
    buffer_consume(&outgoing, (size_t)sent);
  }
  return true;
}

static uint32_t read_u32(const char *from) {
  uint32_t raw;
  memcpy(&raw, from, sizeof raw);
  return ntohl(raw);
}

// One frame off the front of `incoming`: 1 when handled, 0 when incomplete, -1 when it is nonsense.
static int take_frame(void (*handle)(const request *)) {
  if (incoming.length < 8) return 0;
  const char *head = incoming.data + incoming.start;
  uint32_t total = read_u32(head), header_length = read_u32(head + 4);
  if (total < 4 || total > FRAME_IN_MAX || header_length > HEADER_IN_MAX || header_length > total - 4) return -1;
  if (incoming.length < 4 + (size_t)total) return 0;
  // A copy of the header: it is parsed in place and a handler may send, which never touches `incoming`.
  char *header = must(malloc(header_length + 1));
  memcpy(header, head + 8, header_length);
  header[header_length] = 0;
  static request parsed;
  bool ok = json_parse(header, header_length, &parsed.header);
  if (ok) {
    parsed.body = head + 8 + header_length;
    parsed.body_length = total - 4 - header_length;
    handle(&parsed);
  }
  free(header);
  buffer_consume(&incoming, 4 + (size_t)total);
  return ok ? 1 : -1;
}

bool wire_receive(void (*handle)(const request *)) {
  buffer_reserve(&incoming, 64 * 1024);
  size_t used = incoming.start + incoming.length;
  ssize_t got = recv(connection, incoming.data + used, incoming.room - used, 0);
  if (got == 0) return false;
  if (got < 0) return errno == EAGAIN || errno == EINTR;
  incoming.length += (size_t)got;
  int state;
  do state = take_frame(handle);
  while (state == 1);
  return state == 0;
}

void wire_send(const void *body, size_t length, const char *format, ...) {
  if (connection < 0) return;
  char header[512];
  va_list arguments;
  va_start(arguments, format);
  int written = vsnprintf(header, sizeof header, format, arguments);
  va_end(arguments);
  if (written < 0 || (size_t)written >= sizeof header) return;
  uint32_t lengths[2] = {htonl((uint32_t)(4 + (size_t)written + length)), htonl((uint32_t)written)};
  buffer_append(&outgoing, lengths, sizeof lengths);
  buffer_append(&outgoing, header, (size_t)written);
  buffer_append(&outgoing, body, length);
}

void wire_fail(int64_t id, int error) {
  const char *name = strerrorname_np(error);
  wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"error\",\"error\":\"%s\"}", (long long)id, name == NULL ? "EIO" : name);
}

void wire_done(int64_t id) { wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"done\"}", (long long)id); }
