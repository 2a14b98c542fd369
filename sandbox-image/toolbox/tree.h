#ifndef TREE_H
#define TREE_H

#include <stdbool.h>
#include <sys/types.h>

// Kills every living descendant of `root` once. True when none was left and `root`, which the caller has stopped,
// can make no new one. Call again until true.
bool tree_kill(pid_t root);

#endif
