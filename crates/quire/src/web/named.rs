//! The rows and cells that an answer names, to be opened: as they stand in the file, with the formula of a cell that has one. It is the
//! agent that named them; what is shown is the file's, so that a number can be looked up where it is said to come from.

use crate::terminal::clean;
use crate::web::tables::{self, Sheet, letters, short};
use crate::web::text::marked;
use crate::web::{Page, icons};
use maud::{Markup, html};
use quire_core::RelPath;
use quire_core::view::Review;

/// Places of an answer that are looked for.
const LOOKED_FOR_MAX: usize = 50;
/// Places of an answer, rows of one, columns and files that are shown.
const PLACES_MAX: usize = 8;
const ROWS_MAX: usize = 20;
const COLUMNS_MAX: usize = 24;
const FILES_MAX: usize = 3;
/// Larger files are not read for it.
const BYTES_MAX: u64 = 1 << 20;

/// A place that an answer names, counted from 1 as spreadsheets do.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    file: String,
    sheet: Option<String>,
    rows: (usize, usize),
    /// Of a cell.
    column: Option<usize>,
}

/// Returns the places that the answer names, where they are there.
pub fn named(page: &Page, review: &Review) -> Markup {
    let places = places(&clean(&review.brief.summary));
    if places.is_empty() {
        return html! {};
    }
    // Where there are several folders it is not known in which of them a file is meant.
    if page.quire.task(review.task).map_or(true, |task| task.charter.folders.len() > 1) {
        return html! {};
    }
    let mut files: Vec<(&str, Option<Vec<Sheet>>)> = vec![];
    for place in &places {
        let name = place.file.as_str();
        if files.len() < FILES_MAX && files.iter().all(|(other, _)| *other != name) {
            // What cannot be read now is not shown, nor tried for each place anew; the answer stands without it.
            files.push((name, read(page, review, name, &places)));
        }
    }
    let there = places.iter().filter_map(|place| {
        let (_, sheets) = files.iter().find(|(name, _)| *name == place.file)?;
        Some((place, place.sheet_of(sheets.as_ref()?)?))
    });
    let there: Vec<(&Named, &Sheet)> = there.collect();
    html! {
        @if !there.is_empty() {
            h2.minor { "Rows that it names" }
            div.checks.sheet { @for (place, sheet) in there.iter().take(PLACES_MAX) { (place.drawn(sheet)) } }
            @if there.len() > PLACES_MAX { p.mut { "It names more; the first " (PLACES_MAX) " are shown." } }
        }
    }
}

fn read(page: &Page, review: &Review, name: &str, places: &[Named]) -> Option<Vec<Sheet>> {
    let path = RelPath::new(name.as_bytes())?;
    let content = page.quire.file_of(review.task, Some(review.version), &path, BYTES_MAX).ok()??;
    let its = places.iter().filter(|place| place.file == name);
    let cells: Vec<tables::Place> = its.filter_map(|place| Some((place.rows.0, place.column?))).collect();
    tables::sheets_with_formulas(name, &content, &cells)
}

impl Named {
    /// Returns the sheet that is meant, the one that is named or the only one, where it has these rows.
    fn sheet_of<'s>(&self, sheets: &'s [Sheet]) -> Option<&'s Sheet> {
        let sheet = match (&self.sheet, sheets) {
            (Some(name), _) => sheets.iter().find(|sheet| sheet.name == *name)?,
            (None, [only]) => only,
            _ => return None,
        };
        (self.rows.1 <= sheet.rows.len()).then_some(sheet)
    }

    fn drawn(&self, sheet: &Sheet) -> Markup {
        let (first, last) = self.rows;
        let rows = last - first + 1;
        let named = (first..=last).take(ROWS_MAX).map(|row| (row, &sheet.rows[row - 1]));
        // The first row says what the columns are.
        let head = sheet.rows.first().filter(|_| first > 1).map(|head| (1, head));
        let shown: Vec<(usize, &Vec<String>)> = head.into_iter().chain(named).collect();
        let width = shown.iter().map(|(_, cells)| cells.len()).chain(self.column).max().unwrap_or(0);
        // A cell far to the right is shown with those around it.
        let far = self.column.filter(|column| *column > COLUMNS_MAX);
        let from = far.map_or(0, |column| column - COLUMNS_MAX / 2).min(width.saturating_sub(COLUMNS_MAX));
        let columns = from..width.min(from + COLUMNS_MAX);
        let cell = self.column.map(|column| (first, column));
        let formula =
            sheet.formulas.iter().find(|(place, _)| Some(*place) == cell).map(|(_, formula)| formula);
        let label = format!("{}, {}{}", self.file, within(sheet), self.place());
        html! {
            details {
                summary {
                    (icons::sign("lines"))
                    span.what { (marked(&self.file)) ", " (marked(&within(sheet))) (self.place()) }
                    span {} span {}
                    (icons::chevron())
                }
                @if let Some(formula) = formula {
                    pre.out tabindex="0" { "=" (short(&formula.text)) }
                    @if let Some((row, column)) = formula.from { p.mut { "It is filled from " (letters(column)) (row) ", where it is written so." } }
                }
                div.cells { div.grid tabindex="0" role="region" aria-label=(clean(&label)) {
                    table {
                        @for (row, cells) in &shown {
                            tr {
                                th scope="row" { (row) }
                                @for n in columns.clone() {
                                    td.best[*row == first && self.column == Some(n + 1)] { @if let Some(cell) = cells.get(n) { (short(cell)) } }
                                }
                            }
                        }
                    }
                } }
                @if rows > ROWS_MAX { p.mut { "The first " (ROWS_MAX) " of these " (rows) " rows are shown." } }
                @if columns.len() < width { p.mut { "Columns " (letters(from + 1)) " to " (letters(columns.end)) " of " (letters(width)) " are shown." } }
                @if sheet.name.is_empty() { p.mut { "Counted from the file's first row, which is row 1; empty lines do not count." } }
            }
        }
    }

    fn place(&self) -> String {
        match (self.rows, self.column) {
            ((row, _), Some(column)) => format!("cell {}{row}", letters(column)),
            ((first, last), None) if first == last => format!("row {first}"),
            ((first, last), None) => format!("rows {first} to {last}"),
        }
    }
}

fn within(sheet: &Sheet) -> String {
    if sheet.name.is_empty() { String::new() } else { format!("{}, ", sheet.name) }
}

/// Returns the places that a text names: a table's rows and cells, in a sentence that names the table, or none where the text names but
/// the one.
fn places(text: &str) -> Vec<Named> {
    let words = |sentence: &str| -> Vec<String> { sentence.split_whitespace().map(str::to_owned).collect() };
    let plain = |word: &str| {
        word.trim_matches(|c: char| "`*_,;:()\"'|".contains(c))
            .trim_end_matches('.')
            .trim_matches('`')
            .to_owned()
    };
    let is_file = |word: &String| tables::is_table(word);
    let sentences = text.lines().flat_map(|line| line.split_inclusive(". ")).map(words);
    let sentences: Vec<Vec<String>> = sentences.collect();
    let files_of = |sentence: &[String]| {
        let mut files: Vec<String> = sentence.iter().map(|word| plain(word)).filter(is_file).collect();
        files.sort();
        files.dedup();
        files
    };
    let mut all: Vec<String> = sentences.iter().flat_map(|sentence| files_of(sentence)).collect();
    all.sort();
    all.dedup();
    let mut found: Vec<Named> = vec![];
    for sentence in &sentences {
        let its = files_of(sentence);
        let (([file], _) | ([], [file])) = (its.as_slice(), all.as_slice()) else { continue };
        let mut before = String::new();
        for (n, word) in sentence.iter().enumerate() {
            // Of a name that is in quotes because it has spaces, this is a part.
            let is_torn = !word.matches('\'').count().is_multiple_of(2);
            let (is_code, word) = (word.starts_with('`'), plain(word));
            let place = |sheet, rows, column| Named { file: file.clone(), sheet, rows, column };
            let kind = before.to_lowercase();
            let rows = match kind.as_str() {
                "row" | "rows" => range(&word, sentence.get(n + 1..n + 3).unwrap_or_default()),
                _ => None,
            };
            let (sheet, name) = match word.rsplit_once('!') {
                Some((sheet, name)) => (Some(sheet.trim_matches('\'').to_owned()), name),
                None => (None, word.as_str()),
            };
            // A word such as Q3 is no cell because it looks like one.
            let is_said = is_code || sheet.is_some() || ["cell", "cells"].contains(&kind.as_str());
            let cell = cell(name).filter(|_| is_said && !is_torn && file.ends_with(".xlsx"));
            let one = rows
                .map(|rows| place(None, rows, None))
                .or(cell.map(|(row, column)| place(sheet, (row, row), Some(column))));
            found.extend(one.filter(|one| !found.contains(one)));
            if found.len() >= LOOKED_FOR_MAX {
                return found;
            }
            before = word;
        }
    }
    found
}

/// Returns the rows that a word after "row" names, with the two that follow it: `4`, `4-9`, `4 to 9`.
fn range(word: &str, next: &[String]) -> Option<(usize, usize)> {
    let number =
        |text: &str| text.replace(',', "").trim_end_matches('.').parse::<usize>().ok().filter(|row| *row > 0);
    let (first, last) = match (word.split_once(['-', '–']), next) {
        (Some((first, last)), _) => (number(first)?, number(last)?),
        (None, [to, last]) if to == "to" => (number(word)?, number(last).unwrap_or(number(word)?)),
        _ => (number(word)?, number(word)?),
    };
    (first <= last).then_some((first, last))
}

/// Returns row and column of a cell's name.
fn cell(name: &str) -> Option<(usize, usize)> {
    let digits = name.find(|c: char| c.is_ascii_digit())?;
    let (letters, row) = name.split_at(digits);
    if !(1..=3).contains(&letters.len()) || !letters.bytes().all(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let column = letters.bytes().fold(0, |column, byte| column * 26 + usize::from(byte - b'A' + 1));
    row.parse().ok().filter(|row| *row > 0).map(|row| (row, column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_cells_are_named_in_a_sentence_with_their_file() {
        let told = |text: &str| {
            let one = |named: &Named| {
                let column = named.column.map_or_else(String::new, letters);
                let sheet = named.sheet.as_ref().map_or_else(String::new, |sheet| format!("{sheet}!"));
                format!("{} {sheet}{column}{}-{}", named.file, named.rows.0, named.rows.1)
            };
            places(text).iter().map(one).collect::<Vec<_>>().join(", ")
        };
        for (text, expected) in [
            ("Baguettes cost most: 4.10, in row 4 of `prices.csv`. Buns least.", "prices.csv 4-4"),
            ("See `a/ledger.xlsx`, row 1,097.", "a/ledger.xlsx 1097-1097"),
            ("In `a.csv` rows 2 to 9 are empty, and rows 12-14.", "a.csv 2-9, a.csv 12-14"),
            ("It is in `a.csv`. Row 3 says so; row 3 alone.", "a.csv 3-3"),
            (
                "`a.xlsx` has it in `B12`, and Sales!AA3, and cell C4.",
                "a.xlsx B12-12, a.xlsx Sales!AA3-3, a.xlsx C4-4",
            ),
            // In Q3 there is no cell; a CSV file has none; of two files it is not known which.
            ("Q3 was bad in a.xlsx, on A4 paper.", ""),
            ("In `a.csv`: `B2`.", ""),
            ("See 'My Sheet'!A1 and 'May'!B2 of `a.xlsx`.", "a.xlsx May!B2-2"),
            ("`a.csv` and `b.csv` differ in row 4.", ""),
            ("Row 4 of something, and `../up.csv` row 2, row 0 of a.csv, rows 9-2 of a.csv.", ""),
            ("", ""),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
        for (column, name) in [(1, "A"), (26, "Z"), (27, "AA"), (702, "ZZ"), (703, "AAA")] {
            assert_eq!(cell(&format!("{name}7")), Some((7, column)));
        }
        let many: Vec<String> = (1..2_000).map(|row| format!("row {row}")).collect();
        assert_eq!(places(&format!("In `a.csv`: {}", many.join(", "))).len(), LOOKED_FOR_MAX);
    }

    fn cell_of(row: usize, column: usize) -> Named {
        Named { file: "a.xlsx".to_owned(), sheet: None, rows: (row, row), column: Some(column) }
    }

    #[test]
    fn a_place_is_in_the_sheet_that_is_meant_and_in_no_other() {
        let sheet = |name: &str| Sheet { name: name.to_owned(), rows: vec![vec![]; 3], formulas: vec![] };
        let (one, two) = (vec![sheet("May")], vec![sheet("May"), sheet("June")]);
        for (named, row, sheets, expected) in [
            (None, 3, &one, Some("May")),
            (None, 4, &one, None),
            (None, 3, &two, None),
            (Some("June"), 3, &two, Some("June")),
            (Some("July"), 3, &two, None),
        ] {
            let place = Named { sheet: named.map(str::to_owned), ..cell_of(row, 1) };
            let found = place.sheet_of(sheets).map(|sheet| sheet.name.as_str());
            assert_eq!(found, expected, "{named:?} {row}");
        }
    }

    #[test]
    fn a_place_is_shown_as_far_as_there_is_room_and_the_cell_always() {
        let rows = (1..=99)
            .map(|row| (1..=60).map(|column| format!("{}{row}", letters(column))).collect())
            .collect();
        let formulas = vec![((2, 50), tables::Formula { text: "A1".to_owned(), from: Some((1, 50)) })];
        let sheet = Sheet { name: "a\u{202e}b".to_owned(), rows, formulas };
        let far = cell_of(2, 50).drawn(&sheet).into_string();
        for part in [
            "<td class=\"best\">AX2</td>",
            ">AX1</td>",
            "<pre class=\"out\" tabindex=\"0\">=A1</pre>",
            "filled from AX1",
        ] {
            assert!(far.contains(part), "{part}: {far}");
        }
        assert!(far.contains("Columns AK to BH of BH are shown.") && !far.contains(">A2</td>"), "{far}");
        assert!(
            !far.contains('\u{202e}') && far.contains("aria-label=\"a.xlsx, a&lt;U+202E&gt;b, cell AX2\""),
            "{far}"
        );
        let many = Named { rows: (1, 99), column: None, ..cell_of(1, 1) }.drawn(&sheet).into_string();
        assert!(
            many.contains("The first 20 of these 99 rows") && many.contains("Columns A to X of BH"),
            "{many}"
        );
        let long = Sheet { rows: vec![vec!["x".repeat(5_000)]], ..Sheet::default() };
        let short = cell_of(1, 2).drawn(&long).into_string();
        assert!(short.len() < 2_000 && short.contains("<td class=\"best\"></td>"), "{short}");
        assert!(short.contains("empty lines do not count"), "{short}");
    }
}
