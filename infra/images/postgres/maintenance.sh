#!/bin/sh
# Runs the database's maintenance now and then every $1 seconds, as libpq's PG* variables say. A run that fails is logged
# and tried again at the next turn; the health check says when none has succeeded for too long. Terse, as details of an error
# are values out of rows.
set -eu

interval=$1
while :; do
  started=$(date +%s)
  if psql -X -q -v ON_ERROR_STOP=1 -v VERBOSITY=terse -c 'call maintenance.run()'; then
    touch /tmp/last-success
    echo "maintenance: done in $(($(date +%s) - started)) s"
  else
    echo "maintenance: failed; next try in $interval s" >&2
  fi
  # In the background, so that a stop need not wait for the end of the pause.
  sleep "$interval" &
  wait $!
done
