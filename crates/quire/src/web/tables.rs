//! CSV files and spreadsheets as tables, with the cells that changed.

use crate::terminal::clean;
use crate::web::text::marked;
use calamine::{Data, DataRef, Reader, Xlsx, XlsxFormulaMetadata};
use maud::{Markup, html};
use quire_core::table::{self, Fate, Row};
use quire_core::view;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Cursor, Read};

/// Rows and columns that are shown of a table.
const ROWS_MAX: usize = 120;
const COLUMNS_MAX: usize = 24;
/// Rows around a changed one.
const AROUND: usize = 1;
/// Rows, cells, and bytes of their texts, that are read.
const READ_ROWS_MAX: usize = 50_000;
const READ_CELLS_MAX: usize = 1_000_000;
const READ_BYTES_MAX: usize = 32 << 20;
const CELL_CHARS_MAX: usize = 200;
const SHEETS_MAX: usize = 12;
/// What a spreadsheet may hold unpacked: it is a packed file, and a few bytes of one can stand for any number.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// Row and column, counted from 1.
pub type Place = (usize, usize);

/// A table with its name; a CSV file has one without.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sheet {
    pub name: String,
    pub rows: Vec<Vec<String>>,
    /// Those that were asked for.
    pub formulas: Vec<(Place, Formula)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formula {
    pub text: String,
    /// The cell that it is written in, where it is filled from another one.
    pub from: Option<Place>,
}

/// Returns whether a name is that of a table.
pub fn is_table(name: &str) -> bool {
    [".csv", ".tsv", ".xlsx"].iter().any(|ending| name.ends_with(ending))
}

/// Returns the tables of a file, or `None` where it is none that can be read, or too large a one.
pub fn sheets(name: &str, content: &[u8]) -> Option<Vec<Sheet>> {
    sheets_with_formulas(name, content, &[])
}

/// Returns the tables of a file, each with the formulas that it has at these places.
pub fn sheets_with_formulas(name: &str, content: &[u8], places: &[Place]) -> Option<Vec<Sheet>> {
    match name.rsplit_once('.')?.1 {
        "csv" => text(content, if commas(content) { b',' } else { b';' }),
        "tsv" => text(content, b'\t'),
        "xlsx" => workbook(content, places),
        _ => None,
    }
}

/// Returns whether a file's first line is parted by commas rather than semicolons.
fn commas(content: &[u8]) -> bool {
    let first = content.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |sign| first.iter().filter(|byte| **byte == sign).count();
    count(b',') >= count(b';')
}

fn text(content: &[u8], delimiter: u8) -> Option<Vec<Sheet>> {
    let content = content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(content);
    let mut rows = vec![];
    let mut cells = 0;
    for row in reader.byte_records() {
        let row = row.ok()?;
        cells += row.len();
        if rows.len() >= READ_ROWS_MAX || cells > READ_CELLS_MAX {
            return None;
        }
        rows.push(row.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect());
    }
    Some(vec![Sheet { rows, ..Sheet::default() }])
}

fn workbook(content: &[u8], places: &[Place]) -> Option<Vec<Sheet>> {
    if !is_bounded(content).ok()? {
        return None;
    }
    let mut book: Xlsx<_> = calamine::open_workbook_from_rs(Cursor::new(content)).ok()?;
    let (mut cells_left, mut bytes_left) = (READ_CELLS_MAX, READ_BYTES_MAX);
    let mut sheets = vec![];
    for name in book.sheet_names().into_iter().take(SHEETS_MAX) {
        let mut rows: Vec<Vec<String>> = vec![];
        let mut formulas = Formulas::default();
        // Cell by cell, because one cell in the last corner makes a whole table of a billion; and with a formula that many cells share
        // told once, because the library makes room for as many of these as the file says.
        let mut cells = book.worksheet_cells_reader(&name).ok()?;
        while let Some(cell) = cells.next_cell_with_formula_metadata().ok()? {
            let (row, column) = (cell.pos.0 as usize, cell.pos.1 as usize);
            if row >= READ_ROWS_MAX {
                return None;
            }
            if rows.len() <= row {
                rows.resize(row + 1, vec![]);
            }
            cells_left = cells_left.checked_sub((column + 1).saturating_sub(rows[row].len()))?;
            if rows[row].len() <= column {
                rows[row].resize(column + 1, String::new());
            }
            let text = match cell.value {
                // Any number of cells may show one text.
                DataRef::SharedString(text) => Cow::Borrowed(text),
                value => Cow::Owned(Data::from(value).to_string()),
            };
            bytes_left = bytes_left.checked_sub(text.len())?;
            rows[row][column] = text.into_owned();
            if let Some(formula) = cell.formula.filter(|_| !places.is_empty()) {
                formulas.add(formula, (row + 1, column + 1), places);
            }
        }
        sheets.push(Sheet { name, rows, formulas: formulas.found });
    }
    Some(sheets)
}

/// A sheet's formulas, as they are come by.
#[derive(Default)]
struct Formulas {
    found: Vec<(Place, Formula)>,
    /// Those that later cells are filled from, by their numbers.
    shared: HashMap<usize, Formula>,
}

impl Formulas {
    fn add(&mut self, formula: XlsxFormulaMetadata, at: Place, places: &[Place]) {
        let formula = match formula {
            XlsxFormulaMetadata::Normal { formula } => Formula { text: formula, from: None },
            XlsxFormulaMetadata::Shared { shared_index, formula, .. } => {
                self.shared.insert(shared_index, Formula { text: formula.clone(), from: Some(at) });
                Formula { text: formula, from: None }
            }
            XlsxFormulaMetadata::SharedDerived { shared_index } if places.contains(&at) => {
                let Some(formula) = self.shared.get(&shared_index) else { return };
                formula.clone()
            }
            _ => return,
        };
        // A cell may stand in the file any number of times.
        let is_new = self.found.iter().all(|(place, _)| *place != at);
        if places.contains(&at) && is_new && !formula.text.is_empty() {
            self.found.push((at, formula));
        }
    }
}

/// Returns whether a packed file holds no more than the limit, and no more texts than it has room for. It is read for it, because
/// what it says of itself need not be so.
fn is_bounded(content: &[u8]) -> io::Result<bool> {
    let mut archive = zip::ZipArchive::new(Cursor::new(content)).map_err(io::Error::other)?;
    let mut left = UNPACKED_BYTES_MAX;
    for n in 0..archive.len() {
        let entry = archive.by_index(n).map_err(io::Error::other)?;
        let is_texts = entry.name().map_err(io::Error::other)?.to_lowercase().ends_with("sharedstrings.xml");
        let mut part = entry.take(left + 1);
        let mut texts = vec![];
        let bytes = match is_texts {
            true => part.read_to_end(&mut texts)? as u64,
            false => io::copy(&mut part, &mut io::sink())?,
        };
        if bytes > left || !is_countable(&texts) {
            return Ok(false);
        }
        left -= bytes;
    }
    Ok(true)
}

/// Returns whether the texts that a workbook's cells share are as many as it may be true: the library makes room for as many as they say.
fn is_countable(texts: &[u8]) -> bool {
    const SAYS: &[u8] = b"uniqueCount";
    // XML has no other control characters; in an encoding that has, the word could be written so that it is not found.
    let is_plain = texts.iter().all(|byte| *byte >= b' ' || b"\t\r\n".contains(byte));
    is_plain
        && memchr::memmem::find_iter(texts, SAYS).all(|at| {
            let Some(said) = texts[at + SAYS.len()..].trim_ascii_start().strip_prefix(b"=") else {
                return true;
            };
            let mut said = said.trim_ascii_start().splitn(3, |byte| b"\"'".contains(byte));
            let count =
                said.nth(1).and_then(|count| std::str::from_utf8(count).ok()?.trim().parse::<usize>().ok());
            count.is_some_and(|count| count <= READ_CELLS_MAX.min(texts.len()))
        })
}

/// Returns what a column, counted from 1, is called in a spreadsheet.
pub fn letters(mut column: usize) -> String {
    let mut name = String::new();
    while column > 0 {
        name.insert(0, char::from(b'A' + ((column - 1) % 26) as u8));
        column = (column - 1) / 26;
    }
    name
}

/// Returns the tables that changed, or all of a new file's.
pub fn drawn(was: &[Sheet], now: &[Sheet]) -> Markup {
    let none = vec![];
    html! {
        @for sheet in now {
            @let before = was.iter().find(|other| other.name == sheet.name).map_or(&none, |other| &other.rows);
            @let rows = table::compare(before, &sheet.rows);
            @if was.is_empty() || rows.iter().any(|row| row.fate != Fate::Same) { (one(sheet, &rows, before.is_empty())) }
        }
    }
}

fn one(sheet: &Sheet, rows: &[Row<'_>], is_new: bool) -> Markup {
    let near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        rows[from..rows.len().min(at + AROUND + 1)].iter().any(|row| row.fate != Fate::Same)
    };
    // The first row says what the columns are.
    let shown: Vec<usize> =
        (0..rows.len()).filter(|at| is_new || *at == 0 || near(*at)).take(ROWS_MAX).collect();
    let columns = shown.iter().map(|at| rows[*at].cells.len()).max().unwrap_or(0);
    let changed = rows.iter().filter(|row| row.fate != Fate::Same).count() as u64;
    html! {
        div.cells {
            p.mut {
                @if !sheet.name.is_empty() { b { (marked(&sheet.name)) } ": " }
                (view::count(sheet.rows.len() as u64, "row")) @if !is_new { ", " (view::thousands(changed)) " changed" }
                @if columns > COLUMNS_MAX { ", the first " (COLUMNS_MAX) " of " (columns) " columns" }
            }
            div.grid.sheet tabindex="0" role="region" aria-label=(clean(&format!("Table {}", sheet.name))) {
                table {
                    @for (n, at) in shown.iter().enumerate() {
                        @let row = &rows[*at];
                        @if n > 0 && shown[n - 1] + 1 < *at { tr.gap { td colspan=(columns.min(COLUMNS_MAX) + 1) { "⋯" } } }
                        tr.add[row.fate == Fate::Added && !is_new].gone[row.fate == Fate::Removed] {
                            th scope="row" { (row.number) @if row.fate == Fate::Removed { span.vh { ", removed" } } @if row.fate == Fate::Added && !is_new { span.vh { ", added" } } }
                            @for cell in row.cells.iter().take(COLUMNS_MAX) {
                                @match cell.was {
                                    Some(was) => td.changed { @if !was.is_empty() { del { (short(was)) } " " } ins { (short(cell.text)) } },
                                    None => td { (short(cell.text)) },
                                }
                            }
                        }
                    }
                }
            }
            @if shown.len() == ROWS_MAX { p.mut { "The first " (ROWS_MAX) " rows are shown." } }
        }
    }
}

/// Returns a cell's text, as far as one is shown.
pub fn short(text: &str) -> Markup {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((cut, _)) => html! { (marked(&text[..cut])) "…" },
        None => marked(text),
    }
}

/// Returns as much of a cell's text as [`short`] needs to show the same.
pub fn kept(text: &str) -> String {
    text.chars().take(CELL_CHARS_MAX + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn tables_are_read_as_they_are_written() {
        let rows: [(&str, &[u8], Option<&str>); 6] = [
            ("a.csv", b"a,b\n1,\"x, y\"\n", Some("a|b / 1|x, y")),
            ("a.csv", b"a;b\n1;2\n", Some("a|b / 1|2")),
            ("a.csv", b"\xef\xbb\xbfa,b\n1\n", Some("a|b / 1")),
            ("a.tsv", b"a\tb\n", Some("a|b")),
            ("a.xlsx", b"no spreadsheet", None),
            ("a.txt", b"a,b\n", None),
        ];
        for (name, content, expected) in rows {
            let row = |row: &Vec<String>| row.join("|");
            let told = |sheets: Vec<Sheet>| sheets[0].rows.iter().map(row).collect::<Vec<_>>().join(" / ");
            assert_eq!(sheets(name, content).map(told).as_deref(), expected, "{name}");
        }
    }

    /// Returns a spreadsheet of one sheet with these rows of numbers and texts.
    fn packed(rows: &str) -> Vec<u8> {
        packed_with(rows, b"<sst/>")
    }

    /// Returns a spreadsheet whose cells share these texts.
    fn packed_with(rows: &str, texts: &[u8]) -> Vec<u8> {
        let sheet = format!(
            "<?xml version=\"1.0\"?><worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"><sheetData>{rows}</sheetData></worksheet>"
        );
        let parts = [
            ("[Content_Types].xml", "<?xml version=\"1.0\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"/>".to_owned()),
            ("_rels/.rels", "<?xml version=\"1.0\"?><Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>".to_owned()),
            ("xl/workbook.xml", "<?xml version=\"1.0\"?><workbook xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" xmlns:r=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships\"><sheets><sheet name=\"Sales\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>".to_owned()),
            ("xl/_rels/workbook.xml.rels", "<?xml version=\"1.0\"?><Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\"><Relationship Id=\"r1\" Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet\" Target=\"worksheets/sheet1.xml\"/></Relationships>".to_owned()),
            ("xl/worksheets/sheet1.xml", sheet),
        ];
        let mut archive = zip::ZipWriter::new(Cursor::new(vec![]));
        for (name, content) in parts {
            archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            archive.write_all(content.as_bytes()).unwrap();
        }
        archive.start_file("xl/sharedStrings.xml", zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(texts).unwrap();
        archive.finish().unwrap().into_inner()
    }

    #[test]
    fn a_spreadsheet_shows_its_cells_and_what_changed_in_them() {
        let row = |value: u32| {
            format!(
                "<row r=\"1\"><c r=\"A1\" t=\"inlineStr\"><is><t>&lt;May&gt;</t></is></c><c r=\"B1\"><v>{value}</v></c></row>"
            )
        };
        let (was, now) =
            (sheets("a.xlsx", &packed(&row(5))).unwrap(), sheets("a.xlsx", &packed(&row(7))).unwrap());
        assert_eq!(
            now,
            [Sheet {
                name: "Sales".to_owned(),
                rows: vec![vec!["<May>".to_owned(), "7".to_owned()]],
                formulas: vec![]
            }]
        );
        let shown = drawn(&was, &now).into_string();
        assert!(
            shown.contains("<td>&lt;May&gt;</td><td class=\"changed\"><del>5</del> <ins>7</ins></td>"),
            "{shown}"
        );
        assert_eq!(drawn(&now, &now).into_string(), "");
    }

    #[test]
    fn a_cells_formula_is_had_where_it_is_asked_for() {
        let summed = packed(
            "<row r=\"1\"><c r=\"A1\"><v>2</v></c><c r=\"B1\"><f>SUM(A1,3)</f><v>5</v></c>\
             <c r=\"C1\"><f t=\"shared\" si=\"7\" ref=\"C1:D1\">A1*2</f><v>4</v></c><c r=\"D1\"><f t=\"shared\" si=\"7\"/><v>10</v></c></row>",
        );
        let formula = |text: &str, from| Formula { text: text.to_owned(), from };
        for (column, expected) in [
            (1, None),
            (2, Some(formula("SUM(A1,3)", None))),
            (3, Some(formula("A1*2", None))),
            (4, Some(formula("A1*2", Some((1, 3))))),
            (5, None),
        ] {
            let sheets = sheets_with_formulas("a.xlsx", &summed, &[(1, column)]).unwrap();
            assert_eq!(sheets[0].rows[0], ["2", "5", "4", "10"]);
            let found = sheets[0].formulas.iter().map(|(_, formula)| formula.clone()).next();
            assert_eq!(found, expected, "{column}");
        }
        assert_eq!(sheets("a.xlsx", &summed).unwrap()[0].formulas, []);
        for (column, name) in [(1, "A"), (26, "Z"), (27, "AA"), (702, "ZZ"), (703, "AAA")] {
            assert_eq!(letters(column), name);
        }
    }

    #[test]
    fn a_spreadsheet_that_stands_for_more_than_it_holds_is_not_read() {
        let corner = packed("<row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row>");
        assert_eq!(sheets("a.xlsx", &corner), None);
        // A few kilobytes that stand for more than may be unpacked.
        let bomb = packed(&" ".repeat(UNPACKED_BYTES_MAX as usize + 1));
        assert!(bomb.len() < 1 << 20);
        assert_eq!(sheets("a.xlsx", &bomb), None);
        let text = packed_with(
            "<row r=\"1\"><c r=\"A1\" t=\"s\"><v>0</v></c></row>",
            b"<sst count=\"9\" uniqueCount=\"1\"><si><t>May</t></si></sst>",
        );
        assert_eq!(sheets("a.xlsx", &text).unwrap()[0].rows, [["May"]]);
        // Many cells of one long text.
        let cells = "<row><c t=\"s\"><v>0</v></c></row>".repeat(READ_BYTES_MAX / (1 << 20) + 1);
        let long = format!("<sst><si><t>{}</t></si></sst>", "x".repeat(1 << 20));
        assert_eq!(sheets("a.xlsx", &packed_with(&cells, long.as_bytes())), None);
        // More texts, or formulas, than there is memory for.
        let wide: Vec<u8> =
            "<sst uniqueCount=\"6000000000000\"/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for texts in [
            b"<sst uniqueCount=\"6000000000000\"/>".as_slice(),
            b"<sst uniqueCount = '6000000000000'/>",
            b"<sst uniqueCount=\"99999999999999999999999\"/>",
            b"<sst uniqueCount=\"2000\"/>",
            &wide,
        ] {
            assert!(!is_countable(texts), "{}", String::from_utf8_lossy(texts));
            assert_eq!(sheets("a.xlsx", &packed_with("", texts)), None);
        }
        let shared = packed(
            "<row r=\"1\"><c r=\"A1\"><f t=\"shared\" si=\"9999999999999\" ref=\"A1\">1+1</f><v>2</v></c></row>",
        );
        let read = sheets_with_formulas("a.xlsx", &shared, &[(1, 1)]).unwrap();
        assert_eq!((read[0].rows[0][0].as_str(), read[0].formulas[0].1.text.as_str()), ("2", "1+1"));
    }

    #[test]
    fn what_would_reorder_a_sheets_name_is_a_mark_in_its_label_too() {
        let sheet =
            Sheet { name: "a\u{202e}b".to_owned(), rows: vec![vec!["1".to_owned()]], formulas: vec![] };
        let shown = drawn(&[], &[sheet]).into_string();
        assert!(
            shown.contains("aria-label=\"Table a&lt;U+202E&gt;b\"") && !shown.contains('\u{202e}'),
            "{shown}"
        );
    }
}
