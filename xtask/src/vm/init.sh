#!/bin/busybox sh
# The first process of a guest: runs one test binary, says how it ended, and turns the guest off. Where the guest has a service manager,
# that becomes the first process, and starts this again (guest.service).
# The console is the kernel's; what is said here goes to the second serial line.
if [ $$ = 1 ]; then
  /bin/busybox mkdir -p /opt/busybox /proc /sys /dev /run /tmp
  /bin/busybox --install -s /opt/busybox
fi
# What Debian has goes before what busybox has.
export PATH=/usr/sbin:/usr/bin:/opt/busybox HOME=/root
if [ $$ = 1 ]; then
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs devtmpfs /dev
  mount -t tmpfs tmpfs /run
  mount -t tmpfs tmpfs /tmp
  mount -t bpf bpf /sys/fs/bpf
  [ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
fi
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo
. /job/settings
if [ $$ = 1 ]; then
  echo "guest: kernel $(uname -r)"
  for module in $MODULES; do
    # What is built in is no module.
    [ -d "/sys/module/$module" ] || modprobe "$module" || echo "guest: no module $module"
  done
  ip link set lo up
fi
if [ $$ = 1 ] && [ -n "$MANAGER" ]; then
  # What the scripts of packages would have done, had they been installed: no first start, users, an empty database.
  echo 10000000000000000000000000000001 >/etc/machine-id
  [ -e /bin/sh ] || ln -s bash /bin/sh
  systemd-sysusers
  mkdir -p /etc/systemd/system /var/lib/dpkg/info /var/lib/dpkg/updates
  touch /var/lib/dpkg/status
  cp /job/guest.service /etc/systemd/system/
  umount /sys/fs/bpf
  exec "$MANAGER" --unit=guest.service --show-status=no >/dev/console 2>&1
fi
export VTEP_BIN=/job/vtep VTEP_SKIP_LOG=/tmp/skipped VTEP_NOTES=/tmp/notes RUST_BACKTRACE=1
timeout -s KILL "$LIMIT" /job/test --test-threads=1 $ARGUMENTS
status=$?
[ -e /tmp/skipped ] && sed 's/^/guest: /' /tmp/skipped
[ -e /tmp/notes ] && sort -u /tmp/notes | sed 's/^/guest: note: /'
echo "guest: end $status"
sync
poweroff -f
