// The toolbox: the tool server inside a sandbox. It dials the worker's socket and does what it is asked.
//
// Frame, both ways: u32 length of the rest | u32 length of the header | header (one flat JSON object) | body (bytes).
// The same caps stand in workers/sandbox/toolbox-protocol.ts; the protocol version is checked there.
#ifndef TOOLBOX_H
#define TOOLBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTOCOL_VERSION 1
#define SOCKET_PATH "/run/host/toolbox.sock"
#define LOCK_PATH "/run/toolbox.pid"
#define WORKSPACE "/workspace"

#define FRAME_IN_MAX (16u << 20)
#define HEADER_IN_MAX (2u << 20)
#define BODY_OUT_MAX (4u << 20)
// Above this much unsent output no pipe of a command is read: a slow worker stops the writer, not our memory.
#define UNSENT_MAX (1u << 20)

// ---- json.c: a flat object of strings, integers, booleans and arrays of strings. Pointers go into the parsed text.
#define FIELDS_MAX 16
#define ITEMS_MAX 64

typedef enum { FIELD_STRING, FIELD_NUMBER, FIELD_BOOL, FIELD_LIST } field_type;

typedef struct {
  const char *name;
  field_type type;
  int64_t number;
  const char *text;
  char *items[ITEMS_MAX + 1];  // NULL-terminated, usable as argv
} field;

typedef struct {
  field fields[FIELDS_MAX];
  size_t count;
} object;

// Parses `text` in place (it is changed and must outlive `out`). False on anything but one flat object.
bool json_parse(char *text, size_t length, object *out);
const char *json_text(const object *from, const char *name);
int64_t json_number(const object *from, const char *name, int64_t otherwise);
char **json_list(const object *from, const char *name);

// ---- frames.c: the connection
typedef struct {
  object header;
  const char *body;
  size_t body_length;
} request;

bool wire_dial(void);
// Whether the worker at the other end is the one that bound the socket last.
bool wire_is_current(void);
void wire_close(void);
int wire_fd(void);
bool wire_is_full(void);
bool wire_has_unsent(void);
// Both return false when the connection is gone or the worker talked nonsense.
bool wire_flush(void);
bool wire_receive(void (*handle)(const request *));
// `header` is printf-formatted JSON; only numbers and texts of this program may go in.
void wire_send(const void *body, size_t length, const char *header, ...) __attribute__((format(printf, 3, 4)));
void wire_fail(int64_t id, int error);

// ---- files.c: everything below WORKSPACE
bool files_init(void);
// Resolves to a path below the workspace with no symlink left in it, "." for the workspace itself; -errno on failure.
int files_resolve(const char *path, bool may_be_new, char out[4096]);
int files_open(const char *resolved, int flags);
void files_read(const request *from);
void files_write(const request *from);
void files_list(const request *from);

// ---- commands.c: running commands and ending them
void commands_start(const request *from);
void commands_cancel(const request *from);
void commands_end_all(void);
void commands_kill_everything(void);
#define POLL_MAX 256
struct pollfd;
size_t commands_poll(struct pollfd *into, size_t room);
void commands_serve(const struct pollfd *polled, size_t count);
// Milliseconds until the next deadline, -1 for none.
int commands_wait_ms(void);
void commands_expire(void);

int64_t now_ms(void);

#endif
