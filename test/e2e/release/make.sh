#!/bin/sh
# Makes state.json.gz anew, from a checkout of a release: sh test/e2e/release/make.sh <checkout>
set -eu
here=$(cd "$(dirname "$0")" && pwd)
checkout=$(cd "$1" && pwd)
work=$(mktemp -d)
export XDG_DATA_HOME="$work/data" PULUMI_CONFIG_PASSPHRASE=fixture
unset PULUMI_CONFIG_PASSPHRASE_FILE

# Each backend has a folder of its own for the settings' copies, which hold the salt of its secrets.
in_backend() {
  name=$1
  shift
  mkdir -p "$work/$name"
  XDG_STATE_HOME=$work/state-$name PULUMI_BACKEND_URL=file://$work/$name "$checkout/bin/aiwdb" "$@"
}

cp "$here/Pulumi.release.yaml" "$checkout/Pulumi.release.yaml"
# Whatever happens, the stack does not stay on the engine.
trap 'in_backend real down --stack release --delete-data && rm -rf "$work" "$checkout/Pulumi.release.yaml"' EXIT
trap 'exit 130' INT TERM HUP

in_backend real up --stack release --yes
in_backend real pulumi --stack release -- stack export --show-secrets >"$work/open.json"
node "$here/neutral.mjs" "$work/open.json" "$work/data" "$checkout" >"$work/neutral.json"
# Encrypted again, by the fixture's own passphrase.
in_backend copy pulumi --stack release -- stack import --file "$work/neutral.json"
in_backend copy pulumi --stack release -- stack export | gzip -9n >"$here/state.json.gz"
