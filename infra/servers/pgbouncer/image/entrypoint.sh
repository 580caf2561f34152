#!/bin/bash
# Becomes PgBouncer once its files are there, or watches over one for each settings file. Arguments go to pgbouncer.
set -eu

config=/etc/pgbouncer
for file in pgbouncer.ini userlist.txt pgbouncer_hba.conf \
  tls/ca.crt tls/server.crt tls/server.key tls/client.crt tls/client.key; do
  [ -r "$config/$file" ] || missing="${missing-} $file"
done
if [ -n "${missing-}" ]; then
  echo "entrypoint: $config lacks$missing (or user $(id -u) may not read it); put it there before the start" >&2
  exit 1
fi

listeners=("$config"/pgbouncer*.ini)
[ ${#listeners[@]} -gt 1 ] || exec pgbouncer "$@" "$config/pgbouncer.ini"

pids=()
for ini in "${listeners[@]}"; do
  # PgBouncer writes a log line in pieces, and all write to the same pipe.
  pgbouncer "$@" "$ini" 2> >(exec sed -u "s/^/$(basename "$ini" .ini): /" >&2) &
  pids+=($!)
done
stop() {
  stopping=yes
  kill -INT "${pids[@]}" 2>/dev/null || true
}
trap stop INT TERM
status=0
wait -n "${pids[@]}" || status=$?
if [ -z "${stopping-}" ]; then
  # The engine starts the container again: a listener must not be missing while the others look healthy.
  echo "entrypoint: a listener ended with status $status; ending the others" >&2
  kill -QUIT "${pids[@]}" 2>/dev/null || true
  status=1
else
  status=0
fi
for pid in "${pids[@]}"; do
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || true; done
done
exit $status
