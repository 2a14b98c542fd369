#!/bin/bash
# Lists the files of a change with what a reviewer should look at first.
#   summarise.sh [base]          the change against a revision; else against main, master, or the last commit
#   summarise.sh --patch file    a patch
set -euo pipefail

if [ "${1:-}" = "--patch" ]; then
  patch=$(cat "${2:?name a patch file}")
else
  git rev-parse --is-inside-work-tree >/dev/null
  base=${1:-}
  if [ -z "$base" ]; then
    for name in origin/main main origin/master master; do
      if git rev-parse --verify --quiet "$name^{commit}" >/dev/null; then
        base=$(git merge-base "$name" HEAD)
        break
      fi
    done
    # On the main branch itself, the change is what is not committed yet.
    if [ -z "$base" ] || [ "$(git rev-parse "$base")" = "$(git rev-parse HEAD)" ]; then base=HEAD; fi
  fi
  patch=$(git diff --no-color --no-ext-diff --find-renames "$base" --)
  untracked=$(git ls-files --others --exclude-standard)
  [ -n "$untracked" ] && printf 'Not tracked, so not in the diff:\n%s\n\n' "$(printf '%s\n' "$untracked" | sed 's/^/  /')"
fi

if [ -z "$patch" ]; then
  echo "No change."
  exit 0
fi

printf '%s\n' "$patch" | awk '
  function flush() { if (file != "") { printf "%5d +%-5d -%-5d %s%s\n", added + removed, added, removed, file, notes; total_added += added; total_removed += removed; files++ } }
  function note(text) { if (index(notes, text) == 0) notes = notes "  [" text "]" }
  /^diff --git / { flush(); file = $NF; sub(/^b\//, "", file); added = removed = 0; notes = ""; in_hunk = 0
    if (file ~ /(^|\/)(migrations?|schema)[\/.]|\.sql$/) note("stored data")
    if (file ~ /(auth|login|session|permission|crypt|token|secret|password)/) note("security")
    if (file ~ /(^|\/)(package(-lock)?\.json|go\.(mod|sum)|Cargo\.(toml|lock)|requirements.*\.txt|pyproject\.toml|pom\.xml|Gemfile(\.lock)?|[^\/]*\.lock)$/) note("dependencies")
    if (file ~ /(^|\/)(\.github|\.gitlab|ci|deploy|Dockerfile|docker-compose)/) note("delivery")
    if (file ~ /(^|\/)(tests?|spec|__tests__)\/|[._](test|spec)\./) note("tests")
    next }
  /^@@ / { in_hunk = 1; next }
  /^Binary files / { note("binary"); next }
  /^deleted file/ { note("deleted"); next }
  /^rename to / { note("renamed"); next }
  in_hunk && /^\+/ { added++
    if ($0 ~ /^\+(<<<<<<<|>>>>>>>)( |$)/) note("conflict marker")
    if ($0 ~ /(TODO|FIXME|XXX|HACK)/) note("todo")
    if ($0 ~ /(eval\(|exec\(|child_process|subprocess|os\.system|innerHTML|dangerouslySetInnerHTML|pickle\.loads|yaml\.load\()/) note("runs or renders input?")
    if ($0 ~ /(AKIA[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|(api[_-]?key|secret|password|token)["'"'"' ]*[:=] *["'"'"'][^"'"'"']{12,})/) note("secret?")
    if ($0 ~ /(catch *(\([^)]*\))? *\{ *\}|except( Exception)?: *pass|\|\| true)/) note("swallowed error?")
    next }
  in_hunk && /^-/ { removed++; next }
  END { flush(); printf "total: %d files, +%d -%d\n", files, total_added, total_removed }
' | sort -k1,1nr -s | sed 's/^ *[0-9]* \([+]\)/\1/'
