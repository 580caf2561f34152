#!/bin/sh
# Creates the cluster on first start, then becomes PostgreSQL. Arguments go to postgres.
set -eu

volume=/var/lib/postgresql/data
cluster=$volume/pgdata
config=/etc/postgresql

fail() {
  echo "entrypoint: $*" >&2
  exit 1
}

for file in postgresql.conf pg_hba.conf tls/ca.crt tls/server.crt tls/server.key; do
  [ -r "$config/$file" ] || missing="${missing-} $file"
done
[ -z "${missing-}" ] || fail "$config lacks$missing (or user $(id -u) may not read it); put it there before the start"
[ -w "$volume" ] || fail "$volume is not writable for user $(id -u)"

# postmaster.pid can't tell two containers on one volume apart: each sees the other's process number as its own or as
# nobody's. The lock is inherited by postgres and ends with its last process.
exec 9>"$volume/.lock"
flock --nonblock 9 || fail "another container is running on this data volume"

if [ ! -e "$cluster" ]; then
  # Built beside and renamed, so that a start killed half-way leaves no cluster that looks whole.
  rm -rf "$volume"/.init-*
  new=$(mktemp -d "$volume/.init-XXXXXX")
  initdb --pgdata="$new" --username=postgres --auth-local=peer --auth-host=scram-sha-256 --data-checksums \
    --encoding=UTF8 --locale=C.UTF-8 --no-instructions
  # Every role may connect to these two by default; a stack's roles are meant for its own database only.
  echo 'revoke connect on database postgres, template1 from public' |
    postgres --single -D "$new" -c exit_on_error=on -c log_checkpoints=off postgres >/dev/null
  sync
  mv "$new" "$cluster"
  sync "$volume"
fi

exec postgres -D "$cluster" -c config_file="$config/postgresql.conf" "$@"
