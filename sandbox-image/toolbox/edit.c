#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "toolbox.h"

// Opens a plain file for writing without changing it, so that whoever may not write it is refused; -errno on failure.
// -ENOENT: there is none.
static int open_target(const char *resolved, int flags, struct stat *info) {
  int fd = files_open(resolved, flags);
  if (fd < 0) return -errno;
  int failed = fstat(fd, info) != 0 ? -errno : S_ISDIR(info->st_mode) ? -EISDIR : S_ISREG(info->st_mode) ? 0 : -EINVAL;
  if (failed == 0) return fd;
  close(fd);
  return failed;
}

static int write_all(int fd, const char *data, size_t length) {
  while (length > 0) {
    ssize_t step = write(fd, data, length);
    if (step < 0 && errno == EINTR) continue;
    if (step < 0) return -errno;
    data += step;
    length -= (size_t)step;
  }
  return 0;
}

// Whether a file holds exactly these bytes: 0, -ESTALE or another error.
static int compare(const char *resolved, const char *expected, size_t length) {
  static char data[64 * 1024];
  struct stat info;
  int fd = open_target(resolved, O_RDONLY, &info);
  if (fd < 0) return fd == -ENOENT ? -ESTALE : fd;
  int failed = info.st_size == (off_t)length ? 0 : -ESTALE;
  for (size_t at = 0; failed == 0;) {
    ssize_t got = read(fd, data, sizeof data);
    if (got < 0) failed = -errno;
    else if (got == 0 && at == length) break;
    else if (got == 0 || (size_t)got > length - at || memcmp(data, expected + at, (size_t)got) != 0) failed = -ESTALE;
    else at += (size_t)got;
  }
  close(fd);
  return failed;
}

// Writes a file with a name of its own beside its target.
static int write_beside(int parent, char name[64], mode_t mode, const char *data, size_t length) {
  uint64_t salt = 0;
  if (getrandom(&salt, sizeof salt, 0) < 0) return -errno;
  snprintf(name, 64, ".switchyard-%016llx.tmp", (unsigned long long)salt);
  int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return -errno;
  int failed = write_all(fd, data, length);
  if (failed == 0 && fchmod(fd, mode) != 0) failed = -errno;
  // Quotas may speak up only here.
  if (close(fd) != 0 && failed == 0) failed = -errno;
  if (failed != 0) unlinkat(parent, name, 0);
  return failed;
}

static mode_t mode_of(const struct stat *target) { return target->st_mode == 0 ? 0644 : target->st_mode & 0777; }

// Makes the content stand in `resolved` in one step: a reader sees the old or the new file, and a full disk leaves the
// old one.
static int replace(const char *resolved, const request *from) {
  struct stat target = {0};
  int fd = open_target(resolved, O_WRONLY, &target);
  if (fd < 0 && fd != -ENOENT) return fd;
  if (fd >= 0) close(fd);
  const char *leaf, *staged = json_text(&from->header, "from");
  int64_t expect = json_number(&from->header, "expect", staged != NULL && from->body_length > 0 ? (int64_t)from->body_length : -1);
  if (expect > (int64_t)from->body_length) return -EINVAL;
  size_t skip = expect < 0 ? 0 : (size_t)expect;
  int parent = files_open_parent(resolved, true, &leaf), failed = parent < 0 ? parent : 0;
  char name[64] = "";
  if (failed == 0 && staged == NULL) failed = write_beside(parent, name, mode_of(&target), from->body + skip, from->body_length - skip);
  // Last before the step itself: what another program writes after this look is lost, as with every editor.
  if (failed == 0 && expect >= 0) failed = compare(resolved, from->body, skip);
  if (staged == NULL) {
    if (failed == 0 && renameat(parent, name, parent, leaf) != 0) failed = -errno;
    if (failed != 0 && name[0] != 0) unlinkat(parent, name, 0);
  } else if (failed == 0) {
    char source[PATH_MAX];
    const char *source_leaf;
    failed = files_resolve_entry(staged, false, source);
    int source_parent = failed == 0 ? files_open_parent(source, false, &source_leaf) : -1;
    if (failed == 0 && source_parent < 0) failed = source_parent;
    if (failed == 0 && fchmodat(source_parent, source_leaf, mode_of(&target), 0) != 0) failed = -errno;
    if (failed == 0 && renameat(source_parent, source_leaf, parent, leaf) != 0) failed = -errno;
    if (source_parent >= 0) close(source_parent);
  }
  if (parent >= 0) close(parent);
  return failed;
}

static int append(const char *resolved, const request *from) {
  const char *leaf;
  struct stat info;
  int parent = files_open_parent(resolved, true, &leaf);
  if (parent < 0) return parent;
  close(parent);
  int fd = open_target(resolved, O_WRONLY | O_CREAT | O_APPEND, &info);
  if (fd < 0) return fd;
  int failed = write_all(fd, from->body, from->body_length);
  // A full disk takes a part: half of what was to be added is worse than nothing of it.
  if (failed != 0) (void)!ftruncate(fd, info.st_size);
  if (close(fd) != 0 && failed == 0) failed = -errno;
  return failed;
}

void edit_write(const request *from) {
  int64_t id = json_number(&from->header, "id", 0), expect = json_number(&from->header, "expect", 0);
  bool is_append = json_number(&from->header, "append", 0) != 0;
  char resolved[PATH_MAX];
  int failed = files_resolve(json_text(&from->header, "path"), true, resolved);
  if (failed == 0 && strcmp(resolved, ".") == 0) failed = -EISDIR;
  if (failed == 0) failed = is_append ? append(resolved, from) : replace(resolved, from);
  if (failed != 0) return wire_fail(id, -failed);
  wire_send(NULL, 0, "{\"id\":%lld,\"kind\":\"done\",\"bytes\":%lld}", (long long)id,
            (long long)((int64_t)from->body_length - expect));
}

// Opens the directory of an entry; -errno on failure.
static int open_entry(const char *path, bool may_be_new, char entry[PATH_MAX], const char **leaf) {
  int failed = files_resolve_entry(path, may_be_new, entry);
  return failed != 0 ? failed : files_open_parent(entry, may_be_new, leaf);
}

void edit_move(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  char source[PATH_MAX], target[PATH_MAX];
  const char *source_leaf = NULL, *target_leaf = NULL;
  struct stat info;
  int out = open_entry(json_text(&from->header, "path"), false, source, &source_leaf);
  int failed = out < 0 ? out : fstatat(out, source_leaf, &info, AT_SYMLINK_NOFOLLOW) != 0 ? -errno : 0;
  // Directories of the target are made only for something that is there.
  int in = failed == 0 ? open_entry(json_text(&from->header, "to"), true, target, &target_leaf) : -1;
  if (failed == 0 && in < 0) failed = in;
  unsigned flags = json_number(&from->header, "overwrite", 0) != 0 ? 0 : RENAME_NOREPLACE;
  if (failed == 0 && renameat2(out, source_leaf, in, target_leaf, flags) != 0) failed = -errno;
  if (out >= 0) close(out);
  if (in >= 0) close(in);
  if (failed != 0) wire_fail(id, -failed);
  else wire_done(id);
}

void edit_delete(const request *from) {
  int64_t id = json_number(&from->header, "id", 0);
  char entry[PATH_MAX];
  const char *leaf = NULL;
  int parent = open_entry(json_text(&from->header, "path"), false, entry, &leaf);
  int failed = parent < 0 ? parent : 0;
  if (failed == 0 && unlinkat(parent, leaf, 0) != 0) {
    failed = -errno;
    if (failed == -EISDIR) failed = unlinkat(parent, leaf, AT_REMOVEDIR) == 0 ? 0 : -errno;
  }
  if (parent >= 0) close(parent);
  if (failed != 0) wire_fail(id, -failed);
  else wire_done(id);
}
