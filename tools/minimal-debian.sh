#!/usr/bin/env bash
# Runs commands on a copy of this checkout in a fresh minimal Debian that has Node and npm and nothing else: no libvulkan, no GPU.
#   sudo tools/minimal-debian.sh FOLDER [COMMAND]     needs root, debootstrap and network
# FOLDER is made when it does not exist (about 400 MB) and kept; the checkout in it is laid anew each time.
# COMMAND runs in the checkout's root; by default the README's: npm ci && npm start
set -euo pipefail
folder=$(realpath -m "${1:?usage: tools/minimal-debian.sh FOLDER [COMMAND]}")
command=${2:-npm ci --no-audit --no-fund && npm start}
cd "$(dirname "$0")/.."

if [ ! -e "$folder/made" ]; then
  debootstrap --variant=minbase bookworm "$folder" >&2
  node=$(realpath "$(command -v node)")
  npm=$(dirname "$(dirname "$(realpath "$(command -v npm)")")")
  install -D "$node" "$folder/usr/local/bin/node"
  mkdir -p "$folder/usr/local/lib/node_modules"
  cp -r "$npm" "$folder/usr/local/lib/node_modules/npm"
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$folder/usr/local/bin/npm"
  ln -s ../lib/node_modules/npm/bin/npx-cli.js "$folder/usr/local/bin/npx"
  touch "$folder/made"
fi

rm -rf "$folder/adaptvis" "$folder/root/.cache"
mkdir "$folder/adaptvis"
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -c | tar -x -C "$folder/adaptvis"
cp -L /etc/resolv.conf "$folder/etc/resolv.conf"
# The caller's way to the npm registry goes along, and nothing else of the environment.
variables=(HOME=/root PATH=/usr/local/bin:/usr/bin:/bin)
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY npm_config_registry; do
  if [ -n "${!name:-}" ]; then variables+=("$name=${!name}"); fi
done
if [ -f "${NODE_EXTRA_CA_CERTS:-}" ]; then
  cp -L "$NODE_EXTRA_CA_CERTS" "$folder/etc/extra-certificates.pem"
  variables+=(NODE_EXTRA_CA_CERTS=/etc/extra-certificates.pem)
fi
# A mount and process namespace of its own: nothing stays mounted, and every process ends with it.
exec unshare --mount --pid --fork --kill-child bash -ec '
  folder=$1 command=$2
  shift 2
  mount -t proc proc "$folder/proc"
  mount -t tmpfs tmpfs "$folder/dev"
  mkdir "$folder/dev/shm"
  for device in null zero random urandom; do
    touch "$folder/dev/$device"
    mount --bind "/dev/$device" "$folder/dev/$device"
  done
  exec chroot "$folder" /usr/bin/env -i "$@" bash -c "cd /adaptvis && $command"
' bash "$folder" "$command" "${variables[@]}"
