#!/bin/bash
# Runs one command in the machine, as root: what virtme-ng starts there.
# Usage: guest.sh FOLDER, where FOLDER has: command (NUL after each word), directory, path, mark.
#
# Its outputs go through two virtio ports, not through the console, where the kernel writes too.
# Both end with a mark, the first one's with the exit status: nothing is lost between the end of the
# command and the machine's, however many of its children still hold its outputs.

run=$1

# Without udev nobody makes links by the ports' names.
port() {
    local entry
    for entry in /sys/class/virtio-ports/*; do
        if [ "$(cat "$entry/name")" = "$1" ]; then
            echo "/dev/${entry##*/}"
        fi
    done
}

off() {
    sync
    echo o > /proc/sysrq-trigger
}

exec < /dev/null 3<> "$(port lasthop.stdout)" 4<> "$(port lasthop.stderr)" || off

# The other side hangs up once it has both marks, or when it is gone: there is no more to do here.
{ read -r _ <&3; off; } &
hangup=$!

# Through pipes: a port cannot be opened twice, and commands do open /dev/stdout.
exec 1> >(exec cat >&3) 2> >(exec cat >&4)

mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
mountpoint -q /sys/fs/cgroup || mount -t cgroup2 cgroup2 /sys/fs/cgroup
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug

# virtme-ng's view of the files keeps nothing in memory: each start of a program reads all of its
# libraries again, which takes a good part of a second. What does not change may be kept.
files=/run/lasthop.files
mkdir -p "$files"
if mount -t 9p -o ro,version=9p2000.L,trans=virtio,cache=loose,msize=524288 lasthop.files "$files"; then
    for folder in /usr/bin /usr/sbin /usr/lib/x86_64-linux-gnu /usr/share; do
        mount --bind "$files$folder" "$folder"
    done
fi
# Waiting for the grace periods of a machine that does nothing else.
grep -q mitigations=off /proc/cmdline && echo 1 > /sys/kernel/rcu_expedited
ip link set dev lo up

mapfile -d '' -t command < "$run/command"
mark=$(cat "$run/mark")
PATH=$(cat "$run/path")
export PATH
exec 5>&2
if [ -e "$run/terminal" ]; then
    # For a person: the command has a terminal, of the size of that person's.
    read -r rows columns < "$run/terminal"
    command=(setsid --ctty --wait sh -c '
        stty rows "$1" columns "$2"
        shift 2
        TERM=xterm exec "$@" 2>&1' sh "$rows" "$columns" "${command[@]}")
    exec < /dev/hvc0 > /dev/hvc0
fi
# The shell's own words, such as `Killed`, are none of the command's.
cd "$(cat "$run/directory")" && exec 2> /dev/null && "${command[@]}" 2>&5 3>&- 4>&- 5>&-
status=$?
[ ! -e "$run/terminal" ] || exec > >(exec cat >&3)

printf '\0%s:%s\0' "$mark" "$status" >&5
printf '\0%s:%s\0' "$mark" "$status"
wait "$hangup"
