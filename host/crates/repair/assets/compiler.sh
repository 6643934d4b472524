#!/bin/sh
# compiler.sh QUESTION CHECK: reads operations from standard input and answers on
# standard output, each answer closed by a line with the exit code.
#   file   PATH, number of lines, `yes` when the last line ends in a line feed, lines
#   ask    runs QUESTION, the question to the compiler
#   check  runs CHECK, the check itself
question=$1
check=$2
answer() {
  sh -c "$1" 2>&1 </dev/null
  code=$?
  echo
  echo "selfheal-exit:$code"
}
while IFS= read -r operation; do
  case "$operation" in
    file)
      IFS= read -r path
      read -r count
      read -r feed
      while [ "$count" -gt 0 ]; do
        count=$((count - 1))
        IFS= read -r line
        if [ "$count" -gt 0 ] || [ "$feed" = yes ]; then
          printf '%s\n' "$line"
        else
          printf '%s' "$line"
        fi
      done > "$path"
      ;;
    ask) answer "$question" ;;
    check) answer "$check" ;;
  esac
done
