#!/bin/sh
# Gives a commit message its Change-Id: the name that stays with a change from patch set to patch set.
# Installed as .git/hooks/commit-msg. Off with: git config gerrit.createChangeId false
set -eu
message=$1

[ "$(git config --bool --get gerrit.createChangeId || true)" = false ] && exit 0
case $(head -n 1 "$message") in fixup!*|squash!*|amend!*) exit 0 ;; esac
sed '/^# -* >8 -*$/,$d' "$message" | grep -v '^#' | grep -q '[^[:space:]]' || exit 0
grep -q '^Change-Id: I[0-9a-f]\{40\}$' "$message" && exit 0

id=$( { git var GIT_COMMITTER_IDENT; git rev-parse -q --verify HEAD || true; cat "$message"; head -c 32 /dev/urandom; } \
      | git hash-object --stdin)
git interpret-trailers --in-place --where end --if-exists doNothing --trailer "Change-Id: I$id" "$message"
