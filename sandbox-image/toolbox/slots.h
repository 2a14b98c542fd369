// Running programs: what commands.c, output.c and jobs.c share.
#ifndef SLOTS_H
#define SLOTS_H

#include "toolbox.h"

enum { COMMANDS_MAX = 64, JOBS_MAX = 16, JOBS_RUNNING_MAX = 8, SLOTS_MAX = COMMANDS_MAX + JOBS_MAX, LABEL_BYTES = 1024 };

// A command answers one request; a process talks to the worker; a job outlives its connection.
typedef enum { KIND_COMMAND, KIND_PROCESS, KIND_JOB } slot_kind;

// ENDING: its tree is being killed. DRAINING: a process that is gone and whose output is still to be sent. DETACHED: a
// command's result is sent, something it left in the background still writes. OVER: a job that has ended.
typedef enum { SLOT_FREE, SLOT_RUNNING, SLOT_ENDING, SLOT_DRAINING, SLOT_DETACHED, SLOT_OVER } slot_state;

typedef struct {
  slot_kind kind;
  slot_state state;
  int64_t id;  // of the request; 0: nobody waits for the result any more, or a job
  pid_t supervisor;
  int out, err, in, status;
  const char *ended;
  int code;
  int64_t deadline, ending_since, recent_at;
  // Standard input: what waits, whether more may come, and for a process what it took and was not yet told of.
  buffer input;
  bool input_ends;
  size_t fed;
  // Output of a command: the first `half` bytes go out at once, the last `half` are kept in a ring, what lies between
  // is counted. A job has the ring only.
  size_t half, head, ring_at, ring_length;
  int64_t beyond_head;
  char *ring;
  // Output of a process: bytes that may be sent now, and how much of its diagnostics in this second.
  int64_t credit, err_second;
  size_t err_bytes;
  int64_t drained_at;
  // A job: its number, when it began and ended, and what lists show of it.
  int64_t job, began, over_at;
  char *label;
} slot;

extern slot slots[SLOTS_MAX];

// What a supervisor reports of its program: why it could not be started, or how it ended.
typedef struct {
  int error;
  int status;
} outcome;

// ---- launch.c
// False when a program that starts within the last free processes of the limit could not start anything itself.
bool has_room(void);
// Starts a program under a supervisor, its pipes in the slot; the errno, 0 when it runs.
int slot_launch(slot *s, char **argv, char **environment, int directory);

// ---- commands.c

void slot_release(slot *s);
void slot_close(int *fd);
// Ends it and its tree; the result says why.
void slot_end(slot *s, const char *why);

// ---- output.c
void output_keep_command(slot *s, const char *data, size_t length);
void output_keep_ring(slot *s, const char *data, size_t length);
// Copies the ring in order, from `skip` bytes after its beginning on.
void output_copy_ring(const slot *s, size_t skip, char *to, size_t length);
// Sends the result of a command.
void output_finish_command(slot *s);
// Reads from a process what may be sent. False at the end of the pipe.
bool output_send_process(slot *s, int fd);

// ---- jobs.c
slot *jobs_take(void);
void jobs_began(slot *s, int64_t id, const char *label);
void jobs_read(const request *from);
void jobs_write(const request *from);
void jobs_stop(const request *from);
void jobs_list(const request *from);
bool jobs_cancel(int64_t id);
void jobs_lose(void);
int64_t jobs_due(int64_t now);
void jobs_expire(int64_t now);

#endif
