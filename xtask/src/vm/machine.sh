#!/bin/busybox sh
# The first process of a machine: a shell on the second serial line.
/bin/busybox mkdir -p /opt/busybox /proc /sys /dev /run /tmp
/bin/busybox --install -s /opt/busybox
export PATH=/usr/sbin:/usr/bin:/opt/busybox HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
for module in virtio_pci virtio_net; do
  [ -d "/sys/module/$module" ] || modprobe "$module"
done
ip link set lo up
exec </dev/ttyS1 >/dev/ttyS1 2>&1
stty raw -echo
echo '@@ 0'
# Its errors are no terminal's, so that it is not interactive, and says nothing by itself.
exec bash 2>/dev/null
