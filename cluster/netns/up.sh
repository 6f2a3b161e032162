#!/usr/bin/env bash
# Several hosts on this machine, to try what happens between hosts: h1 .. hN, each with its own network (eth0, 10.77.0.K), hostname,
# /dev/shm and /etc/hosts, behind the switch of a further host, hub, whose ports are v1 .. vN. They share processes and files.
# Usage: up.sh HOSTS DIR [OWNER]: DIR is made and keeps what on.sh and down.sh need. Everything goes when the process OWNER ends,
# the caller of up.sh if none is given. Needs root; exit 77 with the reason on a machine that cannot do it.
set -euo pipefail
if (($# < 2)); then sed -n 's/^# \{0,1\}//; 2,6p' "$0" >&2; exit 2; fi
hosts=$1 dir=$(realpath -m "$2") owner=${3:-$PPID} here=$(dirname "$(realpath "$0")")
cannot() { echo "hosts need $1"; exit 77; }

((EUID == 0)) || cannot "root"
for tool in unshare nsenter ip; do command -v "$tool" > /dev/null || cannot "the program $tool"; done
unshare --net --uts --mount bash -c 'mount --make-rprivate / && mount -t tmpfs tmpfs /dev/shm && hostname h1' 2> /dev/null ||
  cannot "leave to make namespaces (a container without CAP_SYS_ADMIN?)"
unshare --net bash -c 'ip link add br0 type bridge && ip link add v1 type veth peer name eth0' 2> /dev/null ||
  cannot "a kernel with bridges and pairs of virtual network cards"

mkdir -p "$dir"
{ echo "127.0.0.1 localhost"; for k in $(seq "$hosts"); do echo "10.77.0.$k h$k"; done; } > "$dir/hosts"
start() {  # HOST: a process that keeps the namespaces alive. Nothing has a name outside, so nothing outlives its processes
  setsid unshare --net --uts --mount bash -c '
    set -e
    mount --make-rprivate /; mount -t tmpfs tmpfs /dev/shm; mount --bind "$1/hosts" /etc/hosts; hostname "$2"; ip link set lo up
    echo $$ > "$1/.$2"; mv "$1/.$2" "$1/$2"; exec sleep infinity' _ "$dir" "$1" < /dev/null > /dev/null 2> "$dir/$1.log" &
}
for host in hub $(seq -f h%g "$hosts"); do start "$host"; done
setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" "$3"' _ "$owner" "$here/down.sh" "$dir" < /dev/null > /dev/null 2>&1 &
echo $! > "$dir/guard"
trap '"$here/down.sh" "$dir"' ERR
printf '#!/usr/bin/env bash\nexec %q %q "$@"\n' "$here/on.sh" "$dir" > "$dir/rsh"  # for MPICH's launcher, which takes no arguments
chmod +x "$dir/rsh"
for host in hub $(seq -f h%g "$hosts"); do
  for _ in $(seq 200); do if [[ -s $dir/$host ]]; then break; fi; sleep 0.05; done
  [[ -s $dir/$host ]] || { cat "$dir"/*.log >&2; false; }
done
"$here/on.sh" "$dir" hub ip link add br0 type bridge forward_delay 0
"$here/on.sh" "$dir" hub ip link set br0 up
for k in $(seq "$hosts"); do
  "$here/on.sh" "$dir" hub "ip link add v$k type veth peer name eth0 netns $(cat "$dir/h$k") && ip link set v$k master br0 up"
  "$here/on.sh" "$dir" "h$k" "ip addr add 10.77.0.$k/24 dev eth0 && ip link set eth0 up"
done
