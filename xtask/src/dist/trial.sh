#!/bin/sh
# The life of a package in a copy of this system: installed, started by hand, upgraded, removed, installed again, purged. Its arguments are
# a directory for it, and two versions of the package. It runs in mount, network and process namespaces of its own.
set -eu
dir=$1 old=$2 new=$3

fail() {
    echo "trial: $*" >&2
    exit 1
}
passed() {
    echo "trial: $*"
}

# The system as it is; what is written lands in `upper`.
layers=$dir/layers root=$dir/copy
mkdir -p "$layers" "$root"
mount -t tmpfs tmpfs "$layers"
mkdir "$layers/upper" "$layers/work"
mount -t overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
cp "$old" "$root/tmp/old.deb"
cp "$new" "$root/tmp/new.deb"

# A service manager that says what it is asked for, and ends daemons as one.
mkdir -p "$root/run/systemd/system"
cat >"$root/tmp/systemctl" <<'SCRIPT'
#!/bin/sh
echo "$*" >>/tmp/asked
if [ "$1" = stop ] && [ -e /tmp/daemon ]; then
    kill "$(cat /tmp/daemon)"
    while kill -0 "$(cat /tmp/daemon)" 2>/dev/null; do sleep 0.05; done
fi
SCRIPT
chmod +x "$root/tmp/systemctl"
systemctl=$(command -v systemctl || echo /usr/bin/systemctl)
[ -e "$root$systemctl" ] || touch "$root$systemctl" "$layers/no-systemctl"
mount --bind "$root/tmp/systemctl" "$root$systemctl"

within() {
    chroot "$root" "$@"
}
dpkg_() {
    within env DEBIAN_FRONTEND=noninteractive dpkg "$@" >"$dir/said" 2>&1 || {
        cat "$dir/said" >&2
        fail "dpkg $* failed"
    }
}
# What the service manager was asked for since the last time.
asked() {
    cat "$root/tmp/asked" 2>/dev/null || true
    rm -f "$root/tmp/asked"
}
expect() {
    what=$1 wanted=$2 got=$3
    [ "$wanted" = "$got" ] || fail "$what: wanted '$wanted', got '$got'"
}

# Changed, new or missing files, without what dpkg and the system keep of any package.
left() {
    (cd "$layers/upper" && find . ! -type d) | sed 's/^\.//' | sort | while read -r path; do
        case $path in
        /var/lib/dpkg/* | /var/log/* | /var/cache/* | /tmp/* | /run/*) continue ;;
        /etc/passwd- | /etc/group- | /etc/shadow- | /etc/gshadow- | /etc/.pwd.lock) continue ;;
        /etc/sub?id | /etc/sub?id-) continue ;;
        "$systemctl") [ -e "$layers/no-systemctl" ] && continue ;;
        esac
        cmp -s "$layers/upper$path" "$path" || echo "$path"
    done
}
# Directories that are there now and not before.
left_directories() {
    (cd "$layers/upper" && find . -type d) | sed 's/^\.//' | sort | while read -r path; do
        case $path in
        "" | /var/lib/dpkg/* | /var/log/* | /var/cache/*) continue ;;
        esac
        [ -d "$path" ] || echo "$path/"
    done
}

# What is pinned; the kernel has files of its own there.
pins() {
    (cd "$root/sys/fs/bpf" && find . | sort)
}
nothing_pinned=$(pins)

[ -z "$(left)" ] || fail "the copy is not as the system: $(left)"

# Installed: the files, the user, and nothing that runs.
dpkg_ --install /tmp/old.deb
installed=$(left | grep -v -e ^/etc/passwd -e ^/etc/group -e ^/etc/shadow -e ^/etc/gshadow)
listed=$(within dpkg --listfiles vtep | sort | while read -r path; do
    [ -d "$root$path" ] || echo "$path"
done)
expect "the files that it installs" "$listed" "$installed"
expect "what starting it takes of the service manager" "daemon-reload" "$(asked)"
within getent passwd vtep >/dev/null || fail "there is no user vtep"
within vtep --version >/dev/null || fail "the binary does not run"
[ -z "$(within dpkg --verify vtep)" ] || fail "dpkg --verify: $(within dpkg --verify vtep)"
within gzip -dc /usr/share/man/man8/vtep-fdb-add.8.gz | grep -q '^.SH NAME' || fail "the manual is no manual"
within bash -n /usr/share/bash-completion/completions/vtep || fail "bash does not take its completions"
passed "installed"

# A daemon that somebody runs, with a data path.
ip link set lo up
ip link add up0 type veth peer name far0
ip link set up0 up
ip link set far0 up
ip addr add 198.18.0.1/24 dev up0
ip link add vm0 type veth peer name vm1
ip link set vm0 up
within vtep run --iface up0 >"$dir/daemon" 2>&1 &
echo $! >"$root/tmp/daemon"
tries=0
until within vtep status >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "the daemon does not come up: $(cat "$dir/daemon")"
    kill -0 "$(cat "$root/tmp/daemon")" || fail "the daemon has ended: $(cat "$dir/daemon")"
    sleep 0.1
done
within vtep vni add 100
within vtep port add vm0 --vni 100
before=$(pins)
[ "$before" != "$nothing_pinned" ] || fail "nothing is pinned"

# Upgraded: what the user has written stays, daemons that run are restarted, and the data path is as it was.
echo "# mine" >>"$root/etc/vtep/main.conf"
dpkg_ --install /tmp/new.deb
expect "an upgrade asks the service manager" "daemon-reload
try-restart vtep@*.service" "$(asked)"
grep -q "^# mine" "$root/etc/vtep/main.conf" || fail "the user's configuration is gone"
expect "the pins after an upgrade" "$before" "$(pins)"
kill -0 "$(cat "$root/tmp/daemon")" || fail "an upgrade has ended a daemon by itself"
passed "upgraded"

# Removed: the daemon is stopped, frames are forwarded, and what ends that is kept.
dpkg_ --remove vtep
grep -q "the instance main forwards on" "$dir/said" || fail "nothing is said of the data path: $(cat "$dir/said")"
expect "a removal asks the service manager" "stop vtep@*.service
daemon-reload" "$(asked)"
expect "the pins after a removal" "$before" "$(pins)"
[ ! -e "$root/usr/bin/vtep" ] || fail "the binary is still there"
[ -e "$root/etc/vtep/main.conf" ] || fail "the configuration is gone"
passed "removed"

# Installed again: what was kept goes, and the data path stays.
dpkg_ --install /tmp/new.deb
asked >/dev/null
[ ! -e "$root/var/lib/vtep" ] || fail "what the removal kept is still there"
expect "the pins after it is back" "$before" "$(pins)"
passed "installed again"

# Purged: nothing stays, neither files nor the user nor the data path.
mkdir -p "$root/etc/vtep/conf.d" "$root/etc/systemd/system/multi-user.target.wants"
echo "vni add 7" >"$root/etc/vtep/conf.d/90-saved.conf"
ln -s /usr/lib/systemd/system/vtep@.service "$root/etc/systemd/system/multi-user.target.wants/vtep@main.service"
rm -f "$root/tmp/daemon"
dpkg_ --purge vtep
asked >/dev/null
expect "the pins after a purge" "$nothing_pinned" "$(pins)"
[ ! -e /sys/class/net/vtep4789 ] || fail "the slow-path device is still there"
expect "what a purge leaves" "" "$(left)"
expect "the directories that a purge leaves" "" "$(left_directories)"
passed "purged"
