#!/bin/bash
# Shows regfs at work: starts a registry on loopback, pushes a small image into it, mounts it, looks at it,
# unmounts. Everything is in a temporary directory and gone afterwards. demo.sh REGFS
set -euo pipefail

regfs=$(realpath "$1")
dir=$(mktemp -d)
registry=
end() {
	status=$?
	cd /
	if mountpoint -q "$dir/mnt"; then "$regfs" umount "$dir/mnt" || umount -l "$dir/mnt" || true; fi
	[ -z "$registry" ] || kill "$registry" 2>/dev/null || true
	# Never delete through a mount.
	mountpoint -q "$dir/mnt" || rm -rf "$dir"
	[ $status = 0 ] || echo "the demo failed (exit status $status)" >&2
	exit $status
}
trap end EXIT
trap 'exit 130' INT TERM

if [ ! -e /dev/fuse ]; then
	echo "/dev/fuse is missing: load the module (modprobe fuse), or give it to this container (--device /dev/fuse --cap-add SYS_ADMIN)" >&2
	exit 1
fi
export PATH=$PATH:/usr/sbin:/sbin XDG_CACHE_HOME=$dir/cache

bold() { if [ -t 1 ]; then printf '\033[1m$ %s\033[0m\n' "$*"; else printf '$ %s\n' "$*"; fi; }
show() { bold "$1"; (eval "$1"); echo; }

# A registry with one image of two layers.
mkdir -p "$dir/mnt" "$dir/storage" "$dir/files"
cat >"$dir/registry.yml" <<-YML
	version: 0.1
	log: {level: info, accesslog: {disabled: true}}
	storage: {filesystem: {rootdirectory: $dir/storage}}
	http: {addr: "127.0.0.1:0"}
YML
docker-registry serve "$dir/registry.yml" >"$dir/registry.log" 2>&1 &
registry=$!
host=
for _ in $(seq 100); do
	host=$(sed -n 's/.*listening on \(127\.0\.0\.1:[0-9]*\).*/\1/p' "$dir/registry.log" | head -n1)
	[ -z "$host" ] || break
	kill -0 "$registry" 2>/dev/null || break
	sleep 0.1
done
[ -n "$host" ] || { cat "$dir/registry.log" >&2; exit 1; }

echo "Hello from a layer." >"$dir/files/hello.txt"
head -c 20M /dev/urandom >"$dir/files/big.bin"
umoci -- init --layout "$dir/layout" 2>/dev/null
umoci new --image "$dir/layout:v1" 2>/dev/null
umoci insert --rootless --image "$dir/layout:v1" "$dir/files/hello.txt" /hello.txt 2>/dev/null
umoci insert --rootless --image "$dir/layout:v1" "$dir/files/big.bin" /big.bin 2>/dev/null
umoci config --image "$dir/layout:v1" --config.cmd /hello.txt 2>/dev/null
skopeo copy -q --dest-tls-verify=false "oci:$dir/layout:v1" "docker://$host/demo/hello:v1"
skopeo copy -q --dest-tls-verify=false "oci:$dir/layout:v1" "docker://$host/demo/hello:latest"

echo
echo "A registry is listening on $host. It is mounted now."
echo
regfs() { "$regfs" "$@"; }
cd "$dir"
show "regfs mount $host mnt"
show "ls mnt/demo mnt/demo/hello/tags"
cd "mnt/demo/hello/tags/v1"
show "cat digest"
show "cat config.json | head -c 300; echo"
show "cat rootfs/hello.txt"
show "ls -l rootfs layers"
show "ls -l"
show "ls -lL blobs/sha256"
show "cd blobs/sha256; sha256sum *"
show "skopeo copy oci:\$PWD dir:$dir/copy"
cd "$dir"
show "cat mnt/.regfs/requests | tail -n 5"
show "regfs status mnt"
show "regfs umount mnt"
echo "Done. Try it on a registry of yours: $regfs mount registry.example.com /mnt"
