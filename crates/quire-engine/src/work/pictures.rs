//! Pictures that calls leave for the model. The hand names them, so it is hostile input; and each goes with every later request.

use quire_sandbox::protocol::HandImage;
use std::fs::File;
use std::io::Take;

/// Pictures of one call that are shown.
const MOST: usize = 8;
/// The largest, in bytes; what models take.
const BYTES_MAX: u64 = 5 << 20;
const KINDS: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// Returns those that a model can be shown.
pub fn shown(pictures: Vec<HandImage>) -> impl Iterator<Item = HandImage> {
    pictures.into_iter().filter(|picture| KINDS.contains(&picture.media_type.as_str())).take(MOST)
}

/// Returns the file of one, unless it is too large; no more of it is read, should it still grow.
pub fn bounded(mut file: Take<File>) -> Option<Take<File>> {
    let bytes = file.get_ref().metadata().ok()?.len();
    file.set_limit(BYTES_MAX);
    (bytes <= BYTES_MAX).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_hand_cannot_have_just_anything_sent_as_a_picture() {
        let named = |kind: &str| HandImage { media_type: kind.into(), file: "f".into(), window: None };
        let kinds = ["image/png", "text/html", "image/svg+xml", "image/webp", "image/png\r\n"];
        let kept: Vec<String> = shown(kinds.map(named).into()).map(|one| one.media_type).collect();
        assert_eq!(kept, ["image/png", "image/webp"]);
        assert_eq!(shown(vec![named("image/gif"); 100]).count(), MOST);
        let dir = tempfile::tempdir().unwrap();
        for (bytes, fits) in [(0, true), (BYTES_MAX, true), (BYTES_MAX + 1, false)] {
            File::create(dir.path().join("f")).unwrap().set_len(bytes).unwrap();
            let file = File::open(dir.path().join("f")).unwrap().take(u64::MAX);
            assert_eq!(bounded(file).is_some(), fits, "{bytes}");
        }
    }
}
