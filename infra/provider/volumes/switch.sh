# Puts a version of a volume's files in force. It runs in the folder that has the volume and the version.
# $1: folder of the version; $2: text of a script that tries it, empty where nothing can; others: names of the version's top level.
# A kill at any point leaves the old files or the new ones, and what it left is swept by the next run.
set -eu
version=$1
try=$2
shift 2

if [ -n "$try" ] && ! sh -euc "$try" try "$version" 2>/tmp/refused; then
  cat /tmp/refused >&2
  rm -rf "$version"
  exit 9
fi

sync -f . # the files are on disk before anything points to them
ln -sfn "$version" .next
mv -fT .next .current # a rename: the one moment
# Volumes of older releases have files in these places. New names come once, when there is nothing they replace.
for name in "$@"; do
  if [ ! -L "$name" ]; then
    rm -rf ".old-$name"
    [ ! -e "$name" ] || mv "$name" ".old-$name"
    ln -sfn ".current/$name" "$name"
    rm -rf ".old-$name"
  fi
done
find . -maxdepth 1 -name '.version-*' ! -name "$version" -exec rm -rf {} +
find . -maxdepth 1 -xtype l -delete # links of names that are no more
sync -f .
