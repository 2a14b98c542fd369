#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tree.h"

enum { PROCESSES_MAX = 4096 };

typedef struct {
  pid_t pid, parent;
  char state;
  bool inside;
} process;

static process seen[PROCESSES_MAX];

// /proc/<pid>/stat: the name may hold any byte, brackets too, so the fields start after the LAST closing bracket.
static bool read_process(const char *pid, process *into) {
  char path[64], line[512];
  snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
  FILE *file = fopen(path, "re");
  if (file == NULL) return false;
  size_t got = fread(line, 1, sizeof line - 1, file);
  fclose(file);
  line[got] = 0;
  char *after = strrchr(line, ')');
  int parent = 0;
  if (after == NULL || sscanf(after + 1, " %c %d", &into->state, &parent) != 2) return false;
  into->pid = (pid_t)atoi(pid);
  into->parent = (pid_t)parent;
  into->inside = false;
  return true;
}

static size_t read_all(void) {
  size_t count = 0;
  DIR *proc = opendir("/proc");
  if (proc == NULL) return 0;
  struct dirent *entry;
  while (count < PROCESSES_MAX && (entry = readdir(proc)) != NULL)
    if (isdigit((unsigned char)entry->d_name[0]) && read_process(entry->d_name, &seen[count])) count++;
  closedir(proc);
  return count;
}

bool tree_kill(pid_t root) {
  size_t count = read_all();
  bool grew = true, root_is_still = true, anyone = false;
  for (size_t i = 0; i < count; i++)
    if (seen[i].pid == root) {
      seen[i].inside = true;
      root_is_still = seen[i].state == 'T' || seen[i].state == 'Z' || seen[i].state == 'X';
    }
  while (grew) {
    grew = false;
    for (size_t i = 0; i < count; i++)
      for (size_t j = 0; !seen[i].inside && j < count; j++)
        if (seen[j].inside && seen[j].pid == seen[i].parent) seen[i].inside = grew = true;
  }
  for (size_t i = 0; i < count; i++) {
    if (!seen[i].inside || seen[i].pid == root || seen[i].state == 'Z' || seen[i].state == 'X') continue;
    anyone = true;
    kill(seen[i].pid, SIGKILL);
  }
  return root_is_still && !anyone;
}
