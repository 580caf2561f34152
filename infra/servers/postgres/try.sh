# Tries the version of the files in folder $1. -C reads the whole file, prints one value and ends; it looks at no data folder.
# PostgreSQL's own reload would pass over a wrong value in silence, and a restart would fail.
postgres -D /tmp -C port -c config_file="$PWD/$1/postgresql.conf" >/dev/null
