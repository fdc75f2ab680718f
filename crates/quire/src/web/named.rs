//! The rows and cells that an answer names, to be opened: as they stand in the file, with the formula of a cell that has one. It is the
//! agent that named them; what is shown is the file's, so that a number can be looked up where it is said to come from.

use crate::terminal::clean;
use crate::web::tables::{self, Sheet};
use crate::web::text::marked;
use crate::web::{Page, icons};
use maud::{Markup, html};
use quire_core::RelPath;
use quire_core::view::Review;

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
    let mut files: Vec<(&str, Vec<u8>, Vec<Sheet>)> = vec![];
    for place in &places {
        if files.len() < FILES_MAX && files.iter().all(|(name, ..)| *name != place.file) {
            let path = RelPath::new(place.file.as_bytes());
            // What cannot be read now is not shown; the answer stands without it.
            let content = path.and_then(|path| {
                page.quire.file_of(review.task, Some(review.version), &path, BYTES_MAX).ok()?
            });
            let sheets = content.as_ref().and_then(|content| tables::sheets(&place.file, content));
            files.extend(content.zip(sheets).map(|(content, sheets)| (place.file.as_str(), content, sheets)));
        }
    }
    let drawn = places.iter().filter_map(|place| {
        let (_, content, sheets) = files.iter().find(|(name, ..)| *name == place.file)?;
        let sheet = match &place.sheet {
            Some(name) => sheets.iter().find(|sheet| sheet.name == *name)?,
            None => sheets.first()?,
        };
        (place.rows.1 <= sheet.rows.len()).then(|| place.drawn(content, sheet))
    });
    let drawn: Vec<Markup> = drawn.take(PLACES_MAX).collect();
    html! {
        @if !drawn.is_empty() {
            h2.minor { "Rows that it names" }
            div.checks.sheet { @for one in &drawn { (one) } }
        }
    }
}

impl Named {
    fn drawn(&self, content: &[u8], sheet: &Sheet) -> Markup {
        let (first, last) = self.rows;
        let shown = (first..=last).take(ROWS_MAX);
        let formula = self.column.and_then(|column| tables::formula(content, &sheet.name, first, column));
        // The first row says what the columns are.
        let head = sheet.rows.first().filter(|_| first > 1);
        html! {
            details {
                summary {
                    (icons::sign("lines"))
                    span.what { (marked(&self.file)) ", " (self.place(sheet)) }
                    span {} span {}
                    (icons::chevron())
                }
                @if let Some(formula) = formula { pre.out tabindex="0" { "=" (marked(&formula)) } }
                div.cells { div.grid tabindex="0" role="region" aria-label=(format!("{}, {}", self.file, self.place(sheet))) {
                    table {
                        @if let Some(head) = head { tr { th scope="row" { "1" } @for cell in head.iter().take(COLUMNS_MAX) { td { (marked(cell)) } } } }
                        @for row in shown {
                            tr { th scope="row" { (row) } @for (n, cell) in sheet.rows[row - 1].iter().take(COLUMNS_MAX).enumerate() { td.best[self.column == Some(n + 1)] { (marked(cell)) } } }
                        }
                    }
                } }
            }
        }
    }

    fn place(&self, sheet: &Sheet) -> String {
        let within = if sheet.name.is_empty() { String::new() } else { format!("{}, ", sheet.name) };
        match (self.rows, self.column) {
            ((row, _), Some(column)) => format!("{within}cell {}{row}", letters(column)),
            ((first, last), None) if first == last => format!("{within}row {first}"),
            ((first, last), None) => format!("{within}rows {first} to {last}"),
        }
    }
}

/// Returns what a column is called in a spreadsheet.
fn letters(mut column: usize) -> String {
    let mut name = String::new();
    while column > 0 {
        name.insert(0, char::from(b'A' + ((column - 1) % 26) as u8));
        column = (column - 1) / 26;
    }
    name
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
            let cell = cell(name).filter(|_| is_said && file.ends_with(".xlsx"));
            let one = rows
                .map(|rows| place(None, rows, None))
                .or(cell.map(|(row, column)| place(sheet, (row, row), Some(column))));
            found.extend(one.filter(|one| !found.contains(one)));
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
            ("`a.csv` and `b.csv` differ in row 4.", ""),
            ("Row 4 of something, and `../up.csv` row 2, row 0 of a.csv, rows 9-2 of a.csv.", ""),
            ("", ""),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
        for (column, name) in [(1, "A"), (26, "Z"), (27, "AA"), (702, "ZZ"), (703, "AAA")] {
            assert_eq!((letters(column).as_str(), cell(&format!("{name}7"))), (name, Some((7, column))));
        }
    }
}
