#!/bin/sh
# Writes .env, and a password file for each role in secrets/, for compose.yaml. Run it again after a change of passwords.
# Usage: sh prepare.sh [STACK [ADDRESS]]; ADDRESS is that of the service `direct`, as in postgresClientAddresses.
set -eu
cd "$(dirname "$0")"
stack=${1:-dev}
address=${2:-}
umask 077
mkdir -p secrets

# Password files in the form of https://www.postgresql.org/docs/16/libpq-pgpass.html
password_file() { # role, mode, host, port
  connection=$(${AIWDB:-npx aiwdb} env --stack "$stack" --role "$1" --mode "$2")
  eval "$connection"
  password=$(printf '%s' "$PGPASSWORD" | sed 's/[:\\]/\\&/g')
  printf '%s:%s:%s:%s:%s\n' "$3" "$4" "$PGDATABASE" "$1" "$password" >"secrets/$1"
}
password_file ai_workflow_owner direct "aiwdb-$stack-postgres" 5432
password_file app_user transaction "aiwdb-$stack-pgbouncer" 6432

certificates=$(dirname "$PGSSLCERT")
cat >.env <<END
AIWDB_STACK=$stack
AIWDB_DATABASE=$PGDATABASE
AIWDB_CERTS=$certificates
AIWDB_USER=$(id -u):$(id -g)
AIWDB_ADDRESS=$address
END
echo "$(pwd)/.env and $(pwd)/secrets are for stack $stack"
