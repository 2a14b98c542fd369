#!/bin/bash
# Checks summarise.sh on a small repository of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
git init --quiet --initial-branch=main .
mkdir src migrations
echo 'one' > src/login.js
git add . && git commit --quiet -m start
[ "$(bash "$here/summarise.sh")" = "No change." ]
git checkout --quiet -b work
printf 'one\ntry { x() } catch (e) {}\n// TODO later\n' > src/login.js
echo 'alter table t add c int;' > migrations/2.sql
git add . && git commit --quiet -m change
echo new > notes.txt
out=$(bash "$here/summarise.sh")
grep -q 'src/login.js  \[security\]  \[swallowed error?\]  \[todo\]' <<< "$out"
grep -q 'migrations/2.sql  \[stored data\]' <<< "$out"
grep -q 'total: 2 files, +3 -0' <<< "$out"
grep -q '^  notes.txt' <<< "$out"
git diff main > change.patch
grep -q 'total: 2 files' <<< "$(bash "$here/summarise.sh" --patch change.patch)"
echo "summarise.sh works"
