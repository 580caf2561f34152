#!/bin/sh
# Becomes PgBouncer once its files are there. Arguments go to pgbouncer.
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

exec pgbouncer "$@" "$config/pgbouncer.ini"
