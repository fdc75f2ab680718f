//! Installing, and being somebody else: the same for root and for an ordinary user, who is the only one there is.

use crate::stage::{Live, Stage};

/// Makes a package that takes the place of one that the machine has, with files and users of its own.
const PACKAGE: &str = r#"set -eu; mkdir -p p/DEBIAN p/usr/sbin p/var/lib/quire-x
cp "$(command -v adduser)" p/usr/sbin/adduser; echo '# newer' >> p/usr/sbin/adduser; echo data > p/var/lib/quire-x/f
chown -R games:games p/var/lib/quire-x
cat > p/DEBIAN/control <<E
Package: adduser
Version: 999
Architecture: all
Maintainer: a <a@example.org>
Description: d
E
cat > p/DEBIAN/postinst <<'E'
#!/bin/sh
set -e
useradd -r quire-x
chown -R quire-x: /var/lib/quire-x
chown root:adm /usr/sbin/adduser
E
chmod 755 p/DEBIAN/postinst; dpkg-deb -b p x.deb > /dev/null"#;

pub fn packages_replace_and_have_users(stage: &Stage) {
    let live = stage.start();
    live.yes(PACKAGE);
    live.yes("sudo dpkg -i x.deb");
    live.yes(
        "test \"$(dpkg-query -W adduser)\" = \"$(printf 'adduser\\t999')\" && test -z \"$(dpkg --audit)\"",
    );
    live.yes("tail -1 /usr/sbin/adduser | grep -x '# newer' && id quire-x && rm -r /var/lib/quire-x");
    live.no("tail -1 /proc/1/root/usr/sbin/adduser | grep -x '# newer'");
}

pub fn other_users_are_had(stage: &Stage) {
    let live = stage.start();
    for (command, expected) in [
        ("sudo -n id -un", "root"),
        ("sudo -u games id -un", "games"),
        ("su games -s /bin/sh -c 'id -un'", "games"),
        ("runuser -u daemon -- id -un", "daemon"),
        ("sudo -u games sh -c 'touch /tmp/mine && stat -c %U /tmp/mine'", "games"),
    ] {
        assert_eq!(live.yes(command).trim(), expected, "{command}");
    }
    assert!(live.no("sudo -u nobody-knows id").contains("there is no user"));
    // Whoever it is, he has no more than root inside has.
    for denied in ["unshare -U true", "mount -t tmpfs none /mnt", "unshare -n true"] {
        live.no(&format!("sudo -u games {denied}"));
    }
}

/// What root of the machine's owns can be removed and replaced, at any depth of the system.
pub fn the_system_is_writable(stage: &Stage) {
    let live = stage.start();
    live.yes("d=$(find /usr/lib/python3* -mindepth 3 -type d ! -name __pycache__ | head -1); touch \"$d/quire-x\" && rm \"$d/quire-x\"");
    live.yes("rm /usr/bin/env && printf '#!/bin/sh\\n' > /usr/bin/env && chmod 755 /usr/bin/env");
    live.yes("echo '127.0.0.9 quire-x' >> /etc/hosts && getent hosts quire-x");
    live.yes("grep '^root:!:' /etc/shadow");
    // As Apache's own script does before it starts.
    assert_eq!(live.yes("mktemp -d /var/lock/x.XXXX > /dev/null && stat -c '%a %U' /run/lock"), "1777 root");
    drop(live);
    let again = Live::start(&stage.spec).expect("the same layer");
    again.yes("grep quire-x /etc/hosts && test $(wc -l < /usr/bin/env) = 1");
}
