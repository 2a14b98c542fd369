#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "toolbox.h"

static int workspace = -1;

bool files_init(void) {
  workspace = open(WORKSPACE, O_PATH | O_DIRECTORY | O_CLOEXEC);
  return workspace >= 0;
}

// Makes `path` absolute below the workspace and takes out ".", ".." and doubled slashes, by text alone.
static int normalise(const char *path, char out[PATH_MAX]) {
  char joined[PATH_MAX];
  int length = snprintf(joined, sizeof joined, "%s%s", path[0] == '/' ? "" : WORKSPACE "/", path);
  if (length < 0 || (size_t)length >= sizeof joined) return -ENAMETOOLONG;
  size_t at = 0;
  char *rest = NULL;
  for (char *part = strtok_r(joined, "/", &rest); part != NULL; part = strtok_r(NULL, "/", &rest)) {
    if (strcmp(part, ".") == 0) continue;
    if (strcmp(part, "..") == 0) {
      while (at > 0 && out[--at] != '/') continue;
      continue;
    }
    at += (size_t)snprintf(out + at, PATH_MAX - at, "/%s", part);
  }
  out[at] = 0;
  return 0;
}

static int below_workspace(const char *absolute, char out[PATH_MAX]) {
  size_t root = strlen(WORKSPACE);
  if (strncmp(absolute, WORKSPACE, root) != 0) return -EXDEV;
  if (absolute[root] == 0) return snprintf(out, PATH_MAX, "."), 0;
  if (absolute[root] != '/') return -EXDEV;
  snprintf(out, PATH_MAX, "%s", absolute + root + 1);
  return 0;
}

int files_resolve(const char *path, bool may_be_new, char out[4096]) {
  char wanted[PATH_MAX], real[PATH_MAX], missing[PATH_MAX] = "";
  if (path == NULL) return -EINVAL;
  int failed = normalise(path, wanted);
  if (failed != 0) return failed;
  if ((failed = below_workspace(wanted, real)) != 0) return failed;
  // The longest part that exists is resolved through its symlinks; what is still to be made follows it.
  while (realpath(wanted, real) == NULL) {
    char *last = strrchr(wanted, '/');
    if (errno != ENOENT || !may_be_new || last == NULL || last == wanted) return -errno;
    // A dangling symlink is not "missing": writing through it could leave the workspace.
    struct stat info;
    if (lstat(wanted, &info) == 0) return -ELOOP;
    char longer[PATH_MAX];
    int length = snprintf(longer, sizeof longer, "%s%s", last, missing);
    if (length < 0 || (size_t)length >= sizeof longer) return -ENAMETOOLONG;
    memcpy(missing, longer, (size_t)length + 1);
    *last = 0;
  }
  size_t used = strlen(real);
  int added = snprintf(real + used, sizeof real - used, "%s", missing);
  if (added < 0 || (size_t)added >= sizeof real - used) return -ENAMETOOLONG;
  return below_workspace(real, out);
}

// The agent may swap a directory for a symlink after the check above; the kernel refuses that here.
int files_open(const char *resolved, int flags) {
  struct open_how how = {
      .flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
      .mode = flags & O_CREAT ? 0644 : 0,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
  };
  return (int)syscall(SYS_openat2, workspace, resolved, &how, sizeof how);
}

int files_open_parent(const char *resolved, bool make, const char **leaf) {
  int fd = openat(workspace, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  const char *at = resolved;
  for (const char *slash; fd >= 0 && (slash = strchr(at, '/')) != NULL; at = slash + 1) {
    char part[NAME_MAX + 1];
    int length = snprintf(part, sizeof part, "%.*s", (int)(slash - at), at);
    int next = -1;
    if (length > NAME_MAX) errno = ENAMETOOLONG;
    else next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0 && errno == ENOENT && make && (mkdirat(fd, part, 0755) == 0 || errno == EEXIST))
      next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int failed = errno;
    close(fd);
    errno = failed;
    fd = next;
  }
  *leaf = at;
  return fd < 0 ? -errno : fd;
}

int files_resolve_entry(const char *path, bool may_be_new, char out[4096]) {
  char wanted[PATH_MAX], relative[PATH_MAX], parent[PATH_MAX];
  if (path == NULL) return -EINVAL;
  int failed = normalise(path, wanted);
  if (failed != 0) return failed;
  if ((failed = below_workspace(wanted, relative)) != 0) return failed;
  if (strcmp(relative, ".") == 0) return -EBUSY;
  char *slash = strrchr(wanted, '/');
  *slash = 0;
  if ((failed = files_resolve(wanted, may_be_new, parent)) != 0) return failed;
  bool at_root = strcmp(parent, ".") == 0;
  int length = snprintf(out, PATH_MAX, "%s%s%s", at_root ? "" : parent, at_root ? "" : "/", slash + 1);
  return length < 0 || length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

// A plain file only: a FIFO or device would block or have effects.
static int open_plain(const char *resolved, int flags, struct stat *info) {
  int fd = files_open(resolved, flags);
  if (fd < 0) return -errno;
  int failed = fstat(fd, info) != 0 ? -errno : S_ISDIR(info->st_mode) ? -EISDIR : S_ISREG(info->st_mode) ? 0 : -EINVAL;
  if (failed == 0) return fd;
  close(fd);
  return failed;
}

void files_read(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  int64_t offset = json_number(&from->header, "offset", 0), wanted = json_number(&from->header, "bytes", 0);
  char resolved[PATH_MAX];
  struct stat info;
  int fd = files_resolve(json_text(&from->header, "path"), false, resolved);
  if (fd == 0) fd = open_plain(resolved, O_RDONLY, &info);
  if (fd < 0) return wire_fail(id, -fd);
  size_t room = wanted < 0 ? 0 : wanted > BODY_OUT_MAX ? BODY_OUT_MAX : (size_t)wanted;
  size_t left = offset < 0 || offset >= info.st_size ? 0 : (size_t)(info.st_size - offset);
  if (room > left) room = left;
  char *data = malloc(room + 1);
  size_t got = 0;
  ssize_t step = 1;
  while (data != NULL && got < room && step > 0) {
    step = pread(fd, data + got, room - got, offset + (off_t)got);
    if (step > 0) got += (size_t)step;
  }
  int failed = data == NULL ? ENOMEM : step < 0 ? errno : 0;
  close(fd);
  if (failed != 0) wire_fail(id, failed);
  else wire_send(data, got, "{\"id\":%lld,\"kind\":\"done\",\"total\":%lld}", (long long)id, (long long)info.st_size);
  free(data);
}

typedef struct {
  char *data;
  size_t length, room;
  int64_t entries, entries_max;
  bool truncated;
} listing;

static void add_entry(listing *to, char type, int64_t bytes, const char *path) {
  size_t most = strlen(path) + 32;
  if (to->entries >= to->entries_max || to->length + most > to->room) {
    to->truncated = true;
    return;
  }
  to->entries++;
  // The terminating NUL parts the entries: it is the one byte no path can hold.
  to->length += (size_t)sprintf(to->data + to->length, "%c %lld %s", type, (long long)bytes, path) + 1;
}

static bool is_deep(const char *name) { return strcmp(name, ".git") == 0 || strcmp(name, "node_modules") == 0; }

// Lists one directory; its own directories are appended to the queue, so that a cut listing shows the upper levels.
static int list_directory(listing *to, const char *resolved, char **queue, size_t *queued, size_t queue_max) {
  int fd = files_open(resolved, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return -errno;
  DIR *opened = fdopendir(fd);
  if (opened == NULL) return close(fd), -ENOMEM;
  struct dirent *entry;
  while (!to->truncated && (entry = readdir(opened)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char path[PATH_MAX];
    bool at_root = strcmp(resolved, ".") == 0;
    int length = snprintf(path, sizeof path, "%s%s%s", at_root ? "" : resolved, at_root ? "" : "/", entry->d_name);
    struct stat info;
    if (length < 0 || (size_t)length >= sizeof path) continue;
    if (fstatat(dirfd(opened), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    char type = S_ISREG(info.st_mode) ? 'f' : S_ISDIR(info.st_mode) ? 'd' : S_ISLNK(info.st_mode) ? 'l' : 'o';
    add_entry(to, type, info.st_size, path);
    if (type == 'd' && queue != NULL && *queued < queue_max && !is_deep(entry->d_name)) {
      queue[*queued] = strdup(path);
      if (queue[*queued] != NULL) (*queued)++;
    }
  }
  closedir(opened);
  return 0;
}

void files_list(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  bool recursive = json_number(&from->header, "recursive", 0) != 0;
  char resolved[PATH_MAX];
  int failed = files_resolve(json_text(&from->header, "path"), false, resolved);
  if (failed != 0) return wire_fail(id, -failed);
  enum { QUEUE_MAX = 16384 };
  listing to = {.room = 1u << 20, .entries_max = json_number(&from->header, "entries", 1000)};
  to.data = malloc(to.room);
  char **queue = calloc(QUEUE_MAX, sizeof *queue);
  size_t queued = 0;
  if (to.data == NULL || queue == NULL) failed = -ENOMEM;
  if (failed == 0) failed = list_directory(&to, resolved, recursive ? queue : NULL, &queued, QUEUE_MAX);
  // A directory that vanished meanwhile is no error of the listing.
  for (size_t next = 0; failed == 0 && next < queued && !to.truncated; next++)
    (void)list_directory(&to, queue[next], queue, &queued, QUEUE_MAX);
  if (failed != 0) wire_fail(id, -failed);
  else
    wire_send(to.data, to.length, "{\"id\":%lld,\"kind\":\"done\",\"truncated\":%s}", (long long)id,
              to.truncated ? "true" : "false");
  for (size_t i = 0; i < queued; i++) free(queue[i]);
  free(queue);
  free(to.data);
}
