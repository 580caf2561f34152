# Tries the version of the files in folder $1. PgBouncer's own reload would leave everything behind a bad line, TLS among it, at
# its default. PgBouncer has no mode that only checks: it is started without a network, and ended as soon as it listens.
for ini in "$1"/pgbouncer*.ini; do
  sed "s#$PWD/#&$1/#g" "$ini" >/tmp/tried.ini
  port=$(sed -n 's/^listen_port = //p' "$ini")
  pgbouncer /tmp/tried.ini &
  tried=$!
  until [ -S "/run/pgbouncer/.s.PGSQL.$port" ]; do
    kill -0 $tried 2>/dev/null || exit 1
    sleep 0.02
  done
  kill -9 $tried
done
