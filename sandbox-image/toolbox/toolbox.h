// The toolbox: the tool server inside a sandbox. It talks to the worker and does what it is asked.
//
//   toolbox           dials the worker's socket, and again whenever the connection falls
//   toolbox --stdio   joins standard input and output to the one toolbox of the container, for engines that share no
//                     file system with the worker; starts it when none runs
//
// Frame, both ways: u32 length of the rest | u32 length of the header | header (one flat JSON object) | body (bytes).
// The same caps stand in workers/sandbox/toolbox-protocol.ts; the protocol version is checked there.
#ifndef TOOLBOX_H
#define TOOLBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTOCOL_VERSION 2
// The paths can be set at compile time, for tries outside a container.
#ifndef SOCKET_PATH
#define SOCKET_PATH "/run/host/toolbox.sock"
#endif
#ifndef EGRESS_PATH
#define EGRESS_PATH "/run/host/egress.sock"
#endif
#ifndef LOCK_PATH
#define LOCK_PATH "/run/toolbox.pid"
#endif
#ifndef CONTROL_PATH
#define CONTROL_PATH "/run/toolbox.ctl"
#endif
#ifndef WORKSPACE
#define WORKSPACE "/workspace"
#endif
#ifndef EGRESS_PORT
#define EGRESS_PORT 3128
#endif

#define FRAME_IN_MAX (16u << 20)
#define HEADER_IN_MAX (2u << 20)
#define BODY_OUT_MAX (4u << 20)
// Above this much unsent output no pipe of a command is read: a slow worker stops the writer, not our memory.
#define UNSENT_MAX (1u << 20)
// Above this much no request is read either.
#define UNSENT_DEAF (8u << 20)
// Bytes of a process's input or output that may be under way, each way.
#define WINDOW_BYTES (256u << 10)

// ---- buffer.c: bytes that wait. Running out of memory ends the program: the worker then replaces the container.
typedef struct {
  char *data;
  size_t start, length, room;
} buffer;

void *must(void *memory);
void buffer_reserve(buffer *b, size_t more);
void buffer_append(buffer *b, const void *data, size_t length);
void buffer_consume(buffer *b, size_t length);
void buffer_drop(buffer *b);

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
// Takes over an accepted connection.
void wire_adopt(int fd);
// Whether the worker at the other end is the one that bound the socket last.
bool wire_is_current(void);
void wire_close(void);
int wire_fd(void);
bool wire_is_full(void);
// What to poll the connection for.
short wire_events(void);
// Both return false when the connection is gone or the worker talked nonsense.
bool wire_flush(void);
bool wire_receive(void (*handle)(const request *));
// `header` is printf-formatted JSON; only numbers and texts of this program may go in.
void wire_send(const void *body, size_t length, const char *header, ...) __attribute__((format(printf, 3, 4)));
void wire_fail(int64_t id, int error);
void wire_done(int64_t id);

// ---- files.c, edit.c: everything below WORKSPACE
bool files_init(void);
// Resolves to a path below the workspace with no symlink left in it, "." for the workspace itself; -errno on failure.
int files_resolve(const char *path, bool may_be_new, char out[4096]);
// The descriptor, or -1 and errno.
int files_open(const char *resolved, int flags);
// The directory of a resolved path, made as needed, and in `leaf` the last part of the path; -errno on failure.
int files_open_parent(const char *resolved, bool make, const char **leaf);
// Resolves all but the last part of a path: what is moved or deleted is the link, not what it leads to.
int files_resolve_entry(const char *path, bool may_be_new, char out[4096]);
void files_read(const request *from);
void files_list(const request *from);
void edit_write(const request *from);
void edit_move(const request *from);
void edit_delete(const request *from);

// ---- commands.c: running programs and ending them
void commands_start(const request *from);
void commands_start_process(const request *from);
void commands_start_job(const request *from);
void commands_feed(const request *from);
void commands_credit(const request *from);
void commands_cancel(const request *from);
// The connection is gone: everything but jobs ends.
void commands_end_all(void);
void commands_kill_everything(void);
// A child of this process was waited for.
void commands_reaped(pid_t pid);
#define POLL_MAX 384
struct pollfd;
size_t commands_poll(struct pollfd *into, size_t room);
void commands_serve(const struct pollfd *polled, size_t count);
// Milliseconds until something is due, -1 for nothing.
int commands_wait_ms(void);
void commands_expire(void);

// ---- forward.c: the way out and the joint of --stdio
// Starts the forwarder from 127.0.0.1:EGRESS_PORT to EGRESS_PATH when that exists and none runs.
void forward_check(void);
void forward_reaped(pid_t pid);
// Milliseconds until forward_check has something to do, -1 for nothing.
int forward_wait_ms(void);
// Joins standard input and output to a connected socket until one of them ends.
void forward_stdio(int socket);

int64_t now_ms(void);
// Waits for every child that has ended.
void reap(void);

#endif
