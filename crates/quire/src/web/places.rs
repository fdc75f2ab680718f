//! The rows and cells of tables that a text names, as far as it is known which are meant. Nothing here reads a file.

use crate::web::tables::{self, letters};

/// Places of a text that are looked for.
const LOOKED_FOR_MAX: usize = 50;

/// A place that a text names, counted from 1 as spreadsheets do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub sheet: Option<String>,
    pub rows: (usize, usize),
    /// Of a cell.
    pub column: Option<usize>,
}

impl Place {
    /// Returns it in words: `row 4`, `rows 4 to 9`, `cell B12`.
    pub fn told(&self) -> String {
        match (self.rows, self.column) {
            ((row, _), Some(column)) => format!("cell {}{row}", letters(column)),
            ((first, last), None) if first == last => format!("row {first}"),
            ((first, last), None) => format!("rows {first} to {last}"),
        }
    }
}

/// Returns the places that a text names: a table's rows and cells, in a sentence that names the table, or none where the text names but
/// the one.
pub fn places(text: &str) -> Vec<Place> {
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
    let mut found: Vec<Place> = vec![];
    for sentence in &sentences {
        let its = files_of(sentence);
        let (([file], _) | ([], [file])) = (its.as_slice(), all.as_slice()) else { continue };
        let mut before = String::new();
        for (n, word) in sentence.iter().enumerate() {
            // Of a name that is in quotes because it has spaces, this is a part.
            let is_torn = !word.matches('\'').count().is_multiple_of(2);
            let (is_code, word) = (word.starts_with('`'), plain(word));
            let place = |sheet, rows, column| Place { file: file.clone(), sheet, rows, column };
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
            let one = |named: &Place| {
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
}
