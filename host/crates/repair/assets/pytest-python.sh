#!/bin/sh
# Runs its arguments with the interpreter that `pytest` belongs to, which may live
# in an environment of its own.
interpreter=$(sed -n '1s/^#! *//p' "$(command -v pytest || command -v py.test)" 2>/dev/null)
case "$interpreter" in
  *python*) ;;
  *) interpreter=python3 ;;
esac
exec $interpreter "$@"
