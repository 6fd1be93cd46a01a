#!/bin/busybox sh
# The first process of the guest: mounts the host's root read-only, runs the job, switches off.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "guest: module $module does not load"
done </modules/order

options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,ro,cache=loose" host /host || echo "guest: the host's root does not mount"
# The checkout may be below a folder that is covered in a moment.
checkout=$(sed -n 's/.*sluice\.checkout=\([^ ]*\).*/\1/p' /proc/cmdline)
mkdir /checkout
mount -o bind "/host$checkout" /checkout
mount -t 9p -o "$options,cache=none" shared /host/mnt || echo "guest: the shared folder does not mount"
mount -t proc proc /host/proc
mount -t sysfs sysfs /host/sys
mount -t bpf bpf /host/sys/fs/bpf
mount -t devtmpfs dev /host/dev
mount -t tmpfs tmp /host/tmp
mount -t tmpfs run /host/run
mkdir -p "/host$checkout"
mount -o bind /checkout "/host$checkout"
ip link set lo up

chroot /host /bin/sh /mnt/job
echo "sluice-guest: exit $?"
poweroff -f
