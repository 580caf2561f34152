#!/bin/sh
# Runs the database's maintenance when it starts and every $1 seconds, as libpq's PG* variables say. A run that fails is logged
# and tried again after 10 s, then after twice as long each time, up to 5 minutes: after a restart of the engine this container is
# often up before the server. The health check says when no run has succeeded for too long. Terse, as details of an error are
# values out of rows.
set -eu

interval=$1
first_retry=10
longest_retry=$((interval < 300 ? interval : 300))
retry=$first_retry
while :; do
  started=$(date +%s)
  if psql -X -q -v ON_ERROR_STOP=1 -v VERBOSITY=terse -c 'call maintenance.run()'; then
    touch /tmp/last-success
    pause=$interval
    retry=$first_retry
    echo "maintenance: done in $(($(date +%s) - started)) s"
  else
    pause=$((retry < longest_retry ? retry : longest_retry))
    retry=$((pause * 2))
    echo "maintenance: failed; next try in $pause s" >&2
  fi
  # In the background, so that a stop need not wait for the end of the pause.
  sleep "$pause" &
  wait $!
done
