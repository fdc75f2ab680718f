//! Two versions of a table, row by row and cell by cell, for a face to draw.

use similar::{Algorithm, DiffOp};

/// Rows on both sides up to which they are compared; longer tables are compared by their numbers.
const COMPARED_ROWS_MAX: usize = 20_000;

/// A row, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'t> {
    /// Its number in the table that it stands in, from 1.
    pub number: usize,
    pub fate: Fate,
    pub cells: Vec<Cell<'t>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Same,
    Changed,
    Added,
    Removed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell<'t> {
    pub text: &'t str,
    /// What stood there before, where it is another one.
    pub was: Option<&'t str>,
}

/// Returns the rows of both, in order: those of `now`, and between them those that are gone.
pub fn compare<'t>(was: &'t [Vec<String>], now: &'t [Vec<String>]) -> Vec<Row<'t>> {
    let alone = |fate, rows: &'t [Vec<String>], from: usize| {
        rows.iter().enumerate().map(move |(n, row)| Row {
            number: from + n + 1,
            fate,
            cells: row.iter().map(|text| Cell { text, was: None }).collect(),
        })
    };
    let ops = match was.len() + now.len() {
        0..=COMPARED_ROWS_MAX => similar::capture_diff_slices(Algorithm::Histogram, was, now),
        _ => vec![DiffOp::Replace { old_index: 0, old_len: was.len(), new_index: 0, new_len: now.len() }],
    };
    let mut rows = vec![];
    for op in ops {
        let (gone, come) = (op.old_range(), op.new_range());
        if let DiffOp::Equal { .. } = op {
            rows.extend(alone(Fate::Same, &now[come.clone()], come.start));
            continue;
        }
        let both = gone.len().min(come.len());
        for (n, (old, new)) in was[gone.clone()].iter().zip(&now[come.clone()]).enumerate() {
            rows.push(Row { number: come.start + n + 1, ..between(old, new) });
        }
        rows.extend(alone(Fate::Removed, &was[gone.start + both..gone.end], gone.start + both));
        rows.extend(alone(Fate::Added, &now[come.start + both..come.end], come.start + both));
    }
    rows
}

fn between<'t>(was: &'t [String], now: &'t [String]) -> Row<'t> {
    let cells: Vec<Cell<'t>> = (0..was.len().max(now.len()))
        .map(|n| {
            let (was, text) = (was.get(n).map_or("", |cell| cell), now.get(n).map_or("", |cell| cell));
            Cell { text, was: (was != text).then_some(was) }
        })
        .collect();
    let fate = if cells.iter().any(|cell| cell.was.is_some()) { Fate::Changed } else { Fate::Same };
    Row { number: 0, fate, cells }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Vec<Vec<String>> {
        text.split(';')
            .filter(|row| !row.is_empty())
            .map(|row| row.split(',').map(str::to_owned).collect())
            .collect()
    }

    #[test]
    fn rows_and_cells_that_changed_are_found() {
        let rows = [
            ("a,1;b,2;c,3", "a,1;b,5;c,3", "1=a,1 2~b,2>5 3=c,3"),
            ("a,1;c,3", "a,1;b,2;c,3", "1=a,1 2+b,2 3=c,3"),
            ("a,1;b,2;c,3", "a,1;c,3", "1=a,1 2-b,2 2=c,3"),
            ("a", "a,1", "1~a,>1"),
            ("a,1", "a", "1~a,1>"),
            ("", "a;b", "1+a 2+b"),
            ("a;b", "", "1-a 2-b"),
            ("", "", ""),
        ];
        for (was, now, expected) in rows {
            let (old, new) = (table(was), table(now));
            let told = compare(&old, &new).into_iter().map(|row| {
                let mark = match row.fate {
                    Fate::Same => '=',
                    Fate::Changed => '~',
                    Fate::Added => '+',
                    Fate::Removed => '-',
                };
                let cell = |cell: &Cell<'_>| match cell.was {
                    Some(was) => format!("{was}>{}", cell.text),
                    None => cell.text.to_owned(),
                };
                format!("{}{mark}{}", row.number, row.cells.iter().map(cell).collect::<Vec<_>>().join(","))
            });
            assert_eq!(told.collect::<Vec<_>>().join(" "), expected, "{was} -> {now}");
        }
    }

    #[test]
    fn a_long_table_is_compared_by_its_numbers() {
        let was: Vec<_> = (0..COMPARED_ROWS_MAX).map(|n| vec![n.to_string()]).collect();
        let mut now = was.clone();
        now[7][0] = "x".to_owned();
        let changed: Vec<_> = compare(&was, &now)
            .into_iter()
            .filter(|row| row.fate != Fate::Same)
            .map(|row| row.number)
            .collect();
        assert_eq!(changed, [8]);
    }
}
