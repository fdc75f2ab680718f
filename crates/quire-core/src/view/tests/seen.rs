//! What a person has seen of a file is what stands there now: not what stood there before, and nothing else.

use super::*;

#[test]
fn a_file_is_another_with_any_other_content_mode_or_place_and_with_no_other_past() {
    let of = |path: &str, was: Option<Node>, now: Option<Node>| {
        FileChange::of(&entry(path, was, now), Some(b"x\n"), Some(b"y\n")).identity
    };
    let seen = of("a.txt", file("x", 0o644), file("y", 0o644));
    for (again, same) in [
        (of("a.txt", file("x", 0o644), file("y", 0o644)), true),
        (of("a.txt", None, file("y", 0o644)), true),
        (of("a.txt", file("x", 0o644), file("z", 0o644)), false),
        (of("a.txt", file("x", 0o644), file("y", 0o755)), false),
        (of("b.txt", file("x", 0o644), file("y", 0o644)), false),
        (of("a.txt", file("x", 0o644), None), false),
    ] {
        assert_eq!(again == seen, same);
    }
}
