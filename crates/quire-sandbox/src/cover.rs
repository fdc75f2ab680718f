//! A thin layer over the live machine, for files that must be there and must not tell: `/etc/shadow` keeps its accounts,
//! so that packages can add users, and loses its passwords.

use crate::mounts::During;
use crate::tree::Broken;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

/// Fills `cover` for a lower directory `/`, with owners shifted by `shift`.
pub fn fill(cover: &Path, shift: u32) -> Result<(), Broken> {
    let like = |made: &Path, real: &Path| {
        let real = fs::metadata(real)?;
        fs::set_permissions(made, fs::Permissions::from_mode(real.mode() & 0o7777))?;
        chown(made, Some(real.uid() + shift), Some(real.gid() + shift))
    };
    let etc = cover.join("etc");
    fs::create_dir_all(&etc).during("covering /etc")?;
    for name in ["shadow", "gshadow", "shadow-", "gshadow-"] {
        let real = Path::new("/etc").join(name);
        let Ok(text) = fs::read_to_string(&real) else { continue };
        let made = etc.join(name);
        fs::write(&made, without_passwords(&text)).during("covering the passwords")?;
        like(&made, &real).during("covering the passwords")?;
    }
    like(&etc, Path::new("/etc")).during("covering /etc")?;
    like(cover, Path::new("/")).during("covering /")
}

/// Returns shadow(5) with every account locked.
fn without_passwords(shadow: &str) -> String {
    let lock = |line: &str| match line.split_once(':') {
        Some((account, rest)) => {
            format!("{account}:!{}\n", rest.find(':').map_or("", |colon| &rest[colon..]))
        }
        None => String::new(),
    };
    shadow.lines().map(lock).collect()
}

#[cfg(test)]
mod tests {
    use super::without_passwords;

    #[test]
    fn accounts_stay_and_passwords_go() {
        let shadow = "root:$6$salt$hash:19000:0:99999:7:::\ndaemon:*:1::::::\nann:secret\nrubbish\n";
        assert_eq!(without_passwords(shadow), "root:!:19000:0:99999:7:::\ndaemon:!:1::::::\nann:!\n");
    }
}
