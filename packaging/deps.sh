#!/bin/bash
# Installs programs that are missing, by apt-get: deps.sh PROGRAM[=PACKAGE]...
# What a package would start by itself is kept from starting: tests start servers of their own, on loopback.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
packages=()
for want in "$@"; do
	program=${want%%=*} package=${want#*=}
	command -v "$program" >/dev/null || packages+=("$package")
done
[ ${#packages[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
	echo "These are needed, and there is no apt-get here to install them: ${packages[*]}" >&2
	exit 1
fi
if [ "$(id -u)" = 0 ]; then
	as_root=()
elif command -v sudo >/dev/null; then
	as_root=(sudo)
else
	echo "These are needed; as root, run: apt-get install ${packages[*]}" >&2
	exit 1
fi

echo "installing ${packages[*]}"
# Debian asks this program before it starts a service (invoke-rc.d(8)).
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
if [ -d /run/systemd/system ]; then
	# Nor at the next boot.
	for service in docker-registry nginx apache-htcacheclean; do
		case " ${packages[*]} " in *"$service"*) "${as_root[@]}" systemctl disable -q "$service" 2>/dev/null || true ;; esac
	done
fi
