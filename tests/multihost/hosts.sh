# Sourced by tests on several hosts that are network namespaces of this machine (cluster/netns). The caller has set fmtrain and
# source. Sets work, an empty directory that goes, with all processes on the hosts, when the test ends.
source "$source/tests/support/whole_run.sh"
netns=$source/cluster/netns
net=$work/net
trap '"$netns/down.sh" "$net"; rm -rf "$work"' EXIT

hosts_up() {  # HOSTS: ends the test with 77 where this machine cannot do it
  local code=0
  "$netns/down.sh" "$net"
  "$netns/up.sh" "$1" "$net" $$ || code=$?
  if ((code)); then exit "$code"; fi
}
on() { "$netns/on.sh" "$net" "$@"; }  # HOST COMMAND...
training() {  # DIRECTORY STEPS ARGUMENTS...: the words of a short run without evaluations
  echo "$fmtrain $source/configs/tiny_cpu.yaml --set run.dir=$work/$1 --set schedule.steps=$2 --set data.validation=null --set data.test=null" \
    "--set report.progress=off --set report.bootstrap=0 ${*:3}"
}
