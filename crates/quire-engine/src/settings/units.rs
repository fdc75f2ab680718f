//! Times and sizes as people write them: `60m`, `1h30m`, `4GiB`.

/// Returns the milliseconds of a time such as `90s`, `60m` or `1h30m`, or `None` where it is none or does not fit.
pub fn millis(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let (number, tail) = number(rest)?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        let unit_ms = match unit.trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit_ms)?)?;
        rest = tail;
    }
    Some(total)
}

/// Returns the bytes of a size such as `4GiB`, `500MB` or `512B`, or `None` where it is none or does not fit.
pub fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number(text.trim())?;
    let unit_bytes: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit_bytes)
}

/// Returns the whole number that `text` starts with, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let len = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..len].parse().ok()?, &text[len..]))
}

#[cfg(test)]
mod tests {
    #[test]
    fn times() {
        let rows = [
            ("60m", Some(3_600_000)),
            ("1h30m", Some(5_400_000)),
            ("90s", Some(90_000)),
            (" 2 h ", Some(7_200_000)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("60", None),
            ("m", None),
            ("", None),
            ("-1m", None),
            ("1.5h", None),
            ("99999999999999999999h", None),
            ("18446744073709551615h", None),
        ];
        for (text, expected) in rows {
            assert_eq!(super::millis(text), expected, "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let rows = [
            ("4GiB", Some(4 << 30)),
            ("500 MB", Some(500_000_000)),
            ("1tib", Some(1 << 40)),
            ("7B", Some(7)),
            ("4", None),
            ("4G", None),
            ("GiB", None),
            ("-4GiB", None),
            ("18446744073709551615GiB", None),
        ];
        for (text, expected) in rows {
            assert_eq!(super::bytes(text), expected, "{text:?}");
        }
    }
}
