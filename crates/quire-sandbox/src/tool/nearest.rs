//! Where a text was probably meant: for a model whose `edit` or patch fits nowhere, the lines that come nearest.

/// Lines compared of what was looked for, and of the file; more tells nothing and costs time.
const WANTED_MAX: usize = 8;
const LINES_MAX: usize = 50_000;
/// Most lines shown.
const SHOWN_MAX: usize = 12;

/// Returns a paragraph with the lines of `text` that are most like `wanted`, numbered from 1, or nothing where none is
/// alike.
pub(super) fn nearest(text: &[u8], wanted: &[&str]) -> String {
    let lines: Vec<_> = text.split(|b| *b == b'\n').take(LINES_MAX).map(String::from_utf8_lossy).collect();
    // Blank lines fit everywhere and would win.
    let probe: Vec<_> = wanted
        .iter()
        .enumerate()
        .map(|(i, line)| (i, line.trim()))
        .filter(|(_, line)| !line.is_empty())
        .take(WANTED_MAX)
        .collect();
    let score = |at: usize| -> usize {
        probe.iter().map(|(i, want)| lines.get(at + i).map_or(0, |line| likeness(line.trim(), want))).sum()
    };
    // The last of the best would be as good; the first is what a reader expects.
    let best = (0..lines.len()).map(|at| (score(at), at)).max_by_key(|(score, at)| (*score, usize::MAX - at));
    let enough = probe.len() * 40;
    let Some((_, at)) = best.filter(|(score, _)| !probe.is_empty() && *score >= enough) else {
        return "No lines of the file are like it.".to_owned();
    };
    let mut out = String::from("The nearest lines are:");
    for (number, line) in lines.iter().enumerate().skip(at).take(wanted.len().clamp(1, SHOWN_MAX)) {
        let line: String = line.trim_end_matches('\r').chars().take(200).collect();
        out.push_str(&format!("\n{}\t{line}", number + 1));
    }
    out
}

/// Returns how alike two lines are, 0 to 100: what they begin and end with in common.
fn likeness(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let longer = a.len().max(b.len());
    let shorter = a.len().min(b.len());
    if longer == 0 {
        return 0;
    }
    let front = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let back = a.iter().rev().zip(b.iter().rev()).take(shorter - front).take_while(|(x, y)| x == y).count();
    (front + back) * 100 / longer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_lines_are_numbered() {
        let text = b"fn one() {\n    1\n}\n\nfn two(x: u32) {\n    x + 2\n}\n";
        let rows: &[(&[&str], &str)] = &[
            (&["fn two(y: u32) {", "  x + 2"], "The nearest lines are:\n5\tfn two(x: u32) {\n6\t    x + 2"),
            (&["", "x + 3"], "The nearest lines are:\n5\tfn two(x: u32) {\n6\t    x + 2"),
            (&["something else entirely"], "No lines of the file are like it."),
            (&[""], "No lines of the file are like it."),
            (&[], "No lines of the file are like it."),
        ];
        for (wanted, expect) in rows {
            assert_eq!(nearest(text, wanted), *expect, "{wanted:?}");
        }
    }

    #[test]
    fn an_empty_file_has_no_near_lines() {
        assert_eq!(nearest(b"", &["a"]), "No lines of the file are like it.");
    }
}
