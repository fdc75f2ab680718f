//! The tables of an answer as bars, where they can be had honestly: of one column, of which each cell is a number of one unit, with
//! the numbers beside them as the answer has them. What cannot be read so is not guessed; the table stands in the answer all the same,
//! and behind a switch that works without scripts where it is drawn.

use crate::terminal::clean;
use crate::web::text::blocks;
use maud::{Markup, html};
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// Tables of an answer that are drawn.
const TABLES_MAX: usize = 2;
/// Fewer rows say as much in words; more are not seen at a glance.
const ROWS_MIN: usize = 3;
const ROWS_MAX: usize = 31;
/// Columns that name or count rows, and measure nothing.
const NAMES: [&str; 9] = ["#", "id", "no", "no.", "row", "rows", "line", "year", "number"];
/// Rows that hold the others.
const SUMS: [&str; 5] = ["total", "sum", "all", "overall", "average"];
const CURRENCIES: [char; 4] = ['$', '€', '£', '¥'];

type Table = Vec<Vec<String>>;
/// A number and its unit.
type Size = (f64, Option<char>);

/// A column of a table.
#[derive(Debug, PartialEq)]
struct Bars<'t> {
    heading: &'t str,
    of: &'t str,
    /// Each with its name, its number as it stands there, and its size.
    rows: Vec<(&'t str, &'t str, f64)>,
}

/// Returns an answer as HTML, its tables as bars where they can be had, with the tables themselves one click away.
pub fn answer(text: &str) -> Markup {
    let text = clean(text);
    let mut left = TABLES_MAX;
    let passages = blocks(&text).into_iter().enumerate().map(|(n, (source, block))| {
        let Some(bars) = drawn(source).filter(|_| left > 0) else { return block };
        left -= 1;
        switched(n, &bars, &block)
    });
    html! { @for passage in passages { (passage) } }
}

/// Returns a passage that is a table as bars, where it can be had so.
fn drawn(source: &str) -> Option<Markup> {
    let first = Parser::new_ext(source, super::text::EXTENSIONS).next()?;
    let tables = if matches!(first, Event::Start(Tag::Table(_))) { tables(source) } else { vec![] };
    Some(Bars::of(tables.first()?)?.drawn())
}

/// Returns a drawing, and the table in its place where that is chosen.
fn switched(n: usize, bars: &Markup, table: &Markup) -> Markup {
    let name = format!("as-{n}");
    html! {
        div.as {
            span.seg role="radiogroup" aria-label="Show as" {
                label { input type="radio" name=(name) value="chart" checked; "Chart" }
                label { input type="radio" name=(name) value="table"; "Table" }
            }
            (bars)
            (table)
        }
    }
}

/// Returns the cells of each table that is nothing but text, the heading's first: of one with HTML, or with what is struck out, it is
/// not known what a cell says.
fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<(Table, bool)> = vec![];
    let mut is_cell = false;
    for event in Parser::new_ext(text, super::text::EXTENSIONS) {
        if let Event::Start(Tag::Table(_)) = event {
            tables.push((vec![], true));
        }
        let Some((table, is_text)) = tables.last_mut() else { continue };
        match (event, table.last_mut()) {
            (Event::Start(Tag::TableHead | Tag::TableRow), _) => table.push(vec![]),
            (Event::Start(Tag::TableCell), Some(row)) => {
                row.push(String::new());
                is_cell = true;
            }
            (Event::End(TagEnd::TableCell), _) => is_cell = false,
            (Event::Text(text) | Event::Code(text), Some(row)) if is_cell => {
                row.last_mut().into_iter().for_each(|cell| cell.push_str(&text));
            }
            (Event::InlineHtml(_) | Event::Start(Tag::Strikethrough), _) if is_cell => *is_text = false,
            _ => {}
        }
    }
    tables.into_iter().filter(|(_, is_text)| *is_text).map(|(table, _)| table).collect()
}

impl Bars<'_> {
    /// Returns the first column that measures something.
    fn of(table: &Table) -> Option<Bars<'_>> {
        let (head, rows) = table.split_first()?;
        let is_sum = |row: &&Vec<String>| {
            row.first().is_none_or(|name| SUMS.contains(&name.trim().to_lowercase().as_str()))
        };
        let rows: Vec<&Vec<String>> = rows.iter().filter(|row| !is_sum(row)).collect();
        if !(ROWS_MIN..=ROWS_MAX).contains(&rows.len()) || rows.iter().any(|row| row[0].trim().is_empty()) {
            return None;
        }
        (1..head.len()).find_map(|column| {
            let heading = head[column].trim();
            if NAMES.contains(&heading.to_lowercase().as_str()) {
                return None;
            }
            let cells = rows.iter().map(|row| Some((row[0].trim(), row.get(column)?.trim())));
            let sized = cells.map(|cell| cell.and_then(|(name, text)| Some((name, text, size(text)?))));
            let sized: Vec<(&str, &str, Size)> = sized.collect::<Option<_>>()?;
            let unit = sized[0].2.1;
            let points = sized.iter().filter_map(|(_, text, _)| point(text));
            // Where each point may part thousands, as in much of Europe, it is not known which numbers these are.
            let is_known =
                points.clone().next().is_none() || points.clone().any(|point| point == Point::Decimal);
            let is_one = is_known
                && sized.iter().all(|(.., (_, its))| *its == unit)
                && sized.iter().any(|(.., (size, _))| *size != 0.0);
            let rows = sized.into_iter().map(|(name, text, (size, _))| (name, text, size)).collect();
            is_one.then_some(Bars { heading, of: head[0].trim(), rows })
        })
    }

    fn drawn(&self) -> Markup {
        let most = self.rows.iter().map(|(.., size)| size.abs()).fold(0.0, f64::max);
        let has_less = self.rows.iter().any(|(.., size)| *size < 0.0);
        let told = format!(
            "{} as bars, for each {}; Table shows the numbers",
            self.heading,
            if self.of.is_empty() { "row" } else { self.of }
        );
        html! {
            figure.bars.sheet {
                figcaption { (self.heading) }
                div.less[has_less] role="img" aria-label=(told) {
                    @for (name, text, size) in &self.rows {
                        div {
                            span { (name) }
                            @if has_less { progress.minus dir="rtl" max=(most) value=((-size).max(0.0)) {} }
                            progress max=(most) value=(size.max(0.0)) {}
                            b.minus[*size < 0.0] { (text) }
                        }
                    }
                }
            }
        }
    }
}

/// What a number's point may be.
#[derive(PartialEq)]
enum Point {
    Decimal,
    /// As in `1.250`, which may be either.
    Either,
}

/// Returns what a number's point is, where it has one.
fn point(text: &str) -> Option<Point> {
    let digits: String = text.chars().filter(|c| c.is_ascii_digit() || *c == '.' || *c == ',').collect();
    let (whole, part) = digits.split_once('.')?;
    let is_either = (1..=3).contains(&whole.len()) && !whole.starts_with('0') && part.len() == 3;
    Some(if is_either { Point::Either } else { Point::Decimal })
}

/// Returns a number with its unit. A comma, or a space, parts thousands, where three digits follow it.
fn size(text: &str) -> Option<Size> {
    let text = text.replace(['\u{a0}', '\u{202f}'], " ").replace('−', "-");
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(&text)),
    };
    let is_unit = |c: char| CURRENCIES.contains(&c) || c == '%';
    let unit = text.chars().next().filter(|c| is_unit(*c)).or(text.chars().last().filter(|c| is_unit(*c)));
    let text =
        unit.map_or(text, |unit| text.strip_prefix(unit).or(text.strip_suffix(unit)).unwrap_or(text)).trim();
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let parted = whole.chars().find(|c| [',', ' '].contains(c)).unwrap_or(',');
    let groups: Vec<&str> = whole.split(parted).collect();
    let is_grouped = groups.len() == 1
        || (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(|group| group.len() == 3);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_grouped || !groups.iter().all(|group| digits(group)) || !digits(part) {
        return None;
    }
    Some((sign * format!("{}.{part}", groups.concat()).parse::<f64>().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_with_its_unit_and_nothing_is_guessed() {
        for (text, expected) in [
            ("1,820", Some((1820.0, None))),
            ("−1,240", Some((-1240.0, None))),
            ("-$3,015.50", Some((-3015.5, Some('$')))),
            ("4.10 €", Some((4.1, Some('€')))),
            ("12%", Some((12.0, Some('%')))),
            ("+7", Some((7.0, None))),
            ("1 820", Some((1820.0, None))),
            ("1\u{202f}234\u{a0}567.5\u{a0}€", Some((1_234_567.5, Some('€')))),
            ("12 %", Some((12.0, Some('%')))),
            ("10 12", None),
            ("1 820,500", None),
            ("3 400 12", None),
            ("1,5", None),
            ("12,34,567", None),
            ("1.234.567", None),
            ("no data", None),
            ("", None),
            ("3 of 4", None),
            ("1e9", None),
            ("NaN", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn only_a_column_of_numbers_of_one_unit_becomes_bars() {
        let drawn = |text: &str| {
            let tables = tables(text);
            let bars = tables.iter().find_map(Bars::of);
            bars.map(|bars| {
                let rows = bars.rows.iter().map(|(name, _, size)| format!("{name} {size}"));
                format!("{}: {}", bars.heading, rows.collect::<Vec<_>>().join(", "))
            })
        };
        for (table, expected) in [
            (
                "|Month|Profit|\n|-|-|\n|Jan|1,820|\n|**Feb**|−1,240|\n|Mar|0|\n|Total|580|",
                Some("Profit: Jan 1820, Feb -1240, Mar 0"),
            ),
            // What names the rows and what is text is gone past.
            (
                "|Bread|Row|Kind|Price|\n|-|-|-|-|\n|rye|2|dark|$3.90|\n|bun|3|white|$0.60|\n|roll|4|white|$1|",
                Some("Price: rye 3.9, bun 0.6, roll 1"),
            ),
            // What is struck out, or HTML, may make another number of it; and so may a point that may part thousands.
            ("|A|B|\n|-|-|\n|x|~~10~~ 12|\n|y|2|\n|z|3|", None),
            ("|A|B|\n|-|-|\n|x|12<br>34|\n|y|2|\n|z|3|", None),
            ("|A|B|\n|-|-|\n|x|1.250|\n|y|2.400|\n|z|980|", None),
            ("|A|B|\n|-|-|\n|x|1.250 €|\n|y|-2.400 €|\n|z|980 €|", None),
            ("|A|B|\n|-|-|\n|x|1.250|\n|y|2.4|\n|z|980|", Some("B: x 1.25, y 2.4, z 980")),
            ("|A|B|\n|-|-|\n|x|0.125|\n|y|0.250|\n|z|1.500|", Some("B: x 0.125, y 0.25, z 1.5")),
            ("|A|B|\n|-|-|\n|x|1,234.567|\n|y|2.400|\n|z|980|", Some("B: x 1234.567, y 2.4, z 980")),
            ("|A|B|\n|-|-|\n|x|1 €|\n|y|2 $|\n|z|3 $|", None),
            ("|A|B|\n|-|-|\n|x|1|\n|y|unknown|\n|z|3|", None),
            ("|A|B|\n|-|-|\n|x|1|\n|y|2|", None),
            ("|A|B|\n|-|-|\n|x|0|\n|y|0|\n|z|0|", None),
            ("No table: 1, 2, 3.", None),
        ] {
            assert_eq!(drawn(table).as_deref(), expected, "{table}");
        }
        let table = "|&lt;i>|B|\n|-|-|\n|`<b>x</b>`|1|\n|y|-2|\n|z|3|";
        let shown = answer(table).into_string();
        assert!(!shown.contains("<i>") && !shown.contains("<b>x"), "{shown}");
        assert!(shown.contains("<progress class=\"minus\" dir=\"rtl\" max=\"3\" value=\"2\">"), "{shown}");
        assert!(!shown.contains("style="), "{shown}");
        // The switch stands for each drawing, and the table is there.
        let two = answer(&format!("First:\n\n{table}\n\n- a\n\n{table}\n\n{table}\n")).into_string();
        let counts = ["<figure", "<table>", "name=\"as-1\"", "name=\"as-3\"", "checked"]
            .map(|part| two.matches(part).count());
        assert_eq!(counts, [2, 3, 2, 2, 2], "{two}");
        assert_eq!(
            answer("> |A|B|\n> |-|-|\n> |x|1|\n> |y|2|\n> |z|3|").into_string().matches("as-").count(),
            0
        );
    }
}
