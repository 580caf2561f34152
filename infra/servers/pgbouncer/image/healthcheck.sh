#!/bin/sh
# Asks the admin console of each process over its Unix socket, where PgBouncer lets its own user in as "pgbouncer" without a
# password. https://www.pgbouncer.org/usage.html#admin-console
set -eu
for ini in /etc/pgbouncer/pgbouncer*.ini; do
  port=$(sed -n 's/^listen_port *= *//p' "$ini")
  PGCONNECT_TIMEOUT=3 psql -XAtq -h /run/pgbouncer -p "${port:-6432}" -U pgbouncer -d pgbouncer -c 'show version'
done
