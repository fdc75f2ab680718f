//! The word that somebody most likely meant.

/// Returns the one of `known` that is most like `word`, or `None` where none is near: at most a third of its letters (but
/// two are always allowed) may differ. Of equally near ones the first.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let far = (word.chars().count() / 3).max(2) + 1;
    let ranked = known.into_iter().map(|k| (changes(&word, &k.to_lowercase()), k));
    // Half of a very short word is not "near": `x` is not `ls`.
    ranked
        .filter(|(n, k)| *n < far && *n * 2 <= k.chars().count().max(word.chars().count()))
        .min_by_key(|(n, _)| *n)
        .map(|(_, k)| k)
}

/// Returns how many letters must be put in, left out, replaced or swapped with their neighbour to turn `a` into `b`
/// (optimal string alignment distance).
fn changes(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn the_nearest_word() {
        let known = ["accept", "review", "revise", "ls", "doctor"];
        let rows = [
            ("acept", Some("accept")),
            ("ACCEPT", Some("accept")),
            ("reveiw", Some("review")),
            ("docter", Some("doctor")),
            ("lss", Some("ls")),
            ("x", None),
            ("banana", None),
            ("", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, known), expected, "{word:?}");
        }
    }
}
