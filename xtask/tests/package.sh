#!/bin/sh
# Installs, upgrades and purges the package $1 on a copy of this machine, which is mounted at the empty directory $2. To
# be run as root in a mount namespace of its own, with which the copy is gone.
set -eu
package=$1
copy=$2
mount -t tmpfs tmpfs "$copy"
mkdir "$copy/upper" "$copy/work" "$copy/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$copy/upper,workdir=$copy/work" "$copy/root"

# $@ on the copy, as root or as the user $as.
as=root
on_copy() { chroot --userspec="$as" "$copy/root" env DEBIAN_FRONTEND=noninteractive "$@"; }
expect() {
    what=$1
    shift
    test "$@" || { echo "package.sh: $what: not so: $*" >&2; exit 1; }
}
installed() { on_copy dpkg-query --show --showformat '${Version}' ratelimitd; }

# An older version first: the same but for its number.
dpkg-deb --raw-extract "$package" "$copy/older"
version=$(sed -n 's/^Version: //p' "$copy/older/DEBIAN/control")
sed -i "s/^Version: .*/Version: 0.0.1/" "$copy/older/DEBIAN/control"
dpkg-deb --build "$copy/older" "$copy/root/tmp/older.deb"
cp "$package" "$copy/root/tmp/newer.deb"

on_copy dpkg --install /tmp/older.deb
expect "older version" "$(installed)" = 0.0.1
on_copy ratelimitd keys add acme --tier professional >/dev/null
as=ratelimitd:ratelimitd
on_copy ratelimitd check | grep -q "keys        1 " || { echo "package.sh: the daemon's user cannot read the keys" >&2; exit 1; }
as=root
for file in /usr/lib/systemd/system/ratelimitd.service /lib/systemd/system/ratelimitd.service; do
    if [ -f "$copy/root$file" ]; then unit=$file; fi
done
on_copy systemd-analyze verify --man=no "${unit:?no unit is installed}"
for file in man/man1/ratelimitd.1.gz man/man1/ratelimitd-keys-add.1.gz bash-completion/completions/ratelimitd \
    zsh/vendor-completions/_ratelimitd fish/vendor_completions.d/ratelimitd.fish; do
    expect "installed file" -s "$copy/root/usr/share/$file"
done

echo "# the operator's own" >>"$copy/root/etc/ratelimitd/ratelimitd.toml"
before=$(cat "$copy/root/var/lib/ratelimitd/keys.toml")
on_copy dpkg --install /tmp/newer.deb
expect "newer version" "$(installed)" = "$version"
expect "keys after an upgrade" "$(cat "$copy/root/var/lib/ratelimitd/keys.toml")" = "$before"
expect "configuration after an upgrade" "$(tail -n 1 "$copy/root/etc/ratelimitd/ratelimitd.toml")" = "# the operator's own"

on_copy dpkg --purge ratelimitd
for path in /etc/ratelimitd /var/lib/ratelimitd /usr/bin/ratelimitd; do
    expect "left by a purge" ! -e "$copy/root$path"
done
if on_copy getent passwd ratelimitd; then echo "package.sh: the user is left by a purge" >&2; exit 1; fi
