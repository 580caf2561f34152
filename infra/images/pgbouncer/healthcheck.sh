#!/bin/sh
# Asks the admin console over the Unix socket, where PgBouncer lets its own user in as "pgbouncer" without a password.
# https://www.pgbouncer.org/usage.html#admin-console
PGCONNECT_TIMEOUT=3 exec psql -XAtq -h /run/pgbouncer -p "${PGBOUNCER_PORT:-6432}" -U pgbouncer -d pgbouncer -c 'show version'
