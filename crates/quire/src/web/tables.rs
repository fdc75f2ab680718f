//! CSV files and spreadsheets as tables, with the cells that changed.

use crate::web::text::marked;
use calamine::{Data, Reader, Xlsx};
use maud::{Markup, html};
use quire_core::table::{self, Fate, Row};
use quire_core::view;
use std::io::{self, Cursor, Read};

/// Rows and columns that are shown of a table.
const ROWS_MAX: usize = 120;
const COLUMNS_MAX: usize = 24;
/// Rows around a changed one.
const AROUND: usize = 1;
/// Rows, and cells, that are read.
const READ_ROWS_MAX: usize = 50_000;
const READ_CELLS_MAX: usize = 1_000_000;
const CELL_CHARS_MAX: usize = 200;
const SHEETS_MAX: usize = 12;
/// What a spreadsheet may hold unpacked: it is a packed file, and a few bytes of one can stand for any number.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// A table with its name; a CSV file has one without.
#[derive(Debug, PartialEq, Eq)]
pub struct Sheet {
    pub name: String,
    pub rows: Vec<Vec<String>>,
}

/// Returns whether a name is that of a table.
pub fn is_table(name: &str) -> bool {
    [".csv", ".tsv", ".xlsx"].iter().any(|ending| name.ends_with(ending))
}

/// Returns the tables of a file, or `None` where it is none that can be read, or too large a one.
pub fn sheets(name: &str, content: &[u8]) -> Option<Vec<Sheet>> {
    match name.rsplit_once('.')?.1 {
        "csv" => text(content, if commas(content) { b',' } else { b';' }),
        "tsv" => text(content, b'\t'),
        "xlsx" => workbook(content),
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
    Some(vec![Sheet { name: String::new(), rows }])
}

fn workbook(content: &[u8]) -> Option<Vec<Sheet>> {
    if unpacked(content).ok()? > UNPACKED_BYTES_MAX {
        return None;
    }
    let mut book: Xlsx<_> = calamine::open_workbook_from_rs(Cursor::new(content)).ok()?;
    let mut left = READ_CELLS_MAX;
    let mut sheets = vec![];
    for name in book.sheet_names().into_iter().take(SHEETS_MAX) {
        let mut rows: Vec<Vec<String>> = vec![];
        // Cell by cell, because one cell in the last corner makes a whole table of a billion.
        let mut cells = book.worksheet_cells_reader(&name).ok()?;
        while let Some(cell) = cells.next_cell().ok()? {
            let (row, column) = (cell.get_position().0 as usize, cell.get_position().1 as usize);
            if row >= READ_ROWS_MAX {
                return None;
            }
            if rows.len() <= row {
                rows.resize(row + 1, vec![]);
            }
            left = left.checked_sub((column + 1).saturating_sub(rows[row].len()))?;
            if rows[row].len() <= column {
                rows[row].resize(column + 1, String::new());
            }
            rows[row][column] = Data::from(cell.get_value().clone()).to_string();
        }
        sheets.push(Sheet { name, rows });
    }
    Some(sheets)
}

/// Returns the formula of a spreadsheet's cell, both counted from 1, where it has one.
pub fn formula(content: &[u8], sheet: &str, row: usize, column: usize) -> Option<String> {
    if unpacked(content).ok()? > UNPACKED_BYTES_MAX {
        return None;
    }
    let mut book: Xlsx<_> = calamine::open_workbook_from_rs(Cursor::new(content)).ok()?;
    let mut cells = book.worksheet_cells_reader(sheet).ok()?;
    while let Some(cell) = cells.next_formula().ok()? {
        let (its_row, its_column) = cell.get_position();
        if (its_row as usize + 1, its_column as usize + 1) == (row, column) {
            return Some(cell.get_value().clone()).filter(|formula| !formula.is_empty());
        }
    }
    None
}

/// Returns how much a packed file holds, as far as the limit: read, because what it says of itself need not be so.
fn unpacked(content: &[u8]) -> io::Result<u64> {
    let mut archive = zip::ZipArchive::new(Cursor::new(content)).map_err(io::Error::other)?;
    let mut sum = 0;
    for n in 0..archive.len() {
        let entry = archive.by_index(n).map_err(io::Error::other)?;
        sum += io::copy(&mut entry.take(UNPACKED_BYTES_MAX + 1 - sum), &mut io::sink())?;
        if sum > UNPACKED_BYTES_MAX {
            break;
        }
    }
    Ok(sum)
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
            div.grid.sheet tabindex="0" role="region" aria-label=(format!("Table {}", sheet.name)) {
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

fn short(text: &str) -> Markup {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((cut, _)) => html! { (marked(&text[..cut])) "…" },
        None => marked(text),
    }
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
            [Sheet { name: "Sales".to_owned(), rows: vec![vec!["<May>".to_owned(), "7".to_owned()]] }]
        );
        let shown = drawn(&was, &now).into_string();
        assert!(
            shown.contains("<td>&lt;May&gt;</td><td class=\"changed\"><del>5</del> <ins>7</ins></td>"),
            "{shown}"
        );
        assert_eq!(drawn(&now, &now).into_string(), "");
        let summed =
            packed("<row r=\"1\"><c r=\"A1\"><v>2</v></c><c r=\"B1\"><f>SUM(A1,3)</f><v>5</v></c></row>");
        for (column, expected) in [(1, None), (2, Some("SUM(A1,3)")), (3, None)] {
            assert_eq!(formula(&summed, "Sales", 1, column).as_deref(), expected, "{column}");
        }
        assert_eq!(formula(&summed, "Other", 1, 2), None);
        let corner = packed("<row r=\"1048576\"><c r=\"XFD1048576\"><v>1</v></c></row>");
        assert_eq!(sheets("a.xlsx", &corner), None);
        // A few kilobytes that stand for more than may be unpacked.
        let bomb = packed(&" ".repeat(UNPACKED_BYTES_MAX as usize + 1));
        assert!(bomb.len() < 1 << 20);
        assert_eq!(sheets("a.xlsx", &bomb), None);
    }
}
