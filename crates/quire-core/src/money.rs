//! Money, exactly. Amounts are whole pico-dollars (10⁻¹² USD): a price of 1 USD per million tokens is 1,000,000 of them a
//! token, and the cheapest models cost some thousands, so that no price is rounded and no sum drifts. 64 bits hold 18 million
//! USD.

use crate::message::Usage;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An amount in pico-dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Usd(pub u64);

/// What a token costs, each part by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    pub input: Usd,
    /// Read from the provider's cache.
    pub cached: Usd,
    /// Written to the provider's cache.
    pub cache_write: Usd,
    pub output: Usd,
}

/// The most that a request may come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// Tokens read and written.
    pub input: u64,
    pub output: u64,
    /// Absent where the model's price is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Usd>,
}

/// What a person lets a task cost altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    UpTo(Usd),
    Unlimited,
}

/// Decimal places of a dollar that are kept.
const PLACES: usize = 12;

impl Usd {
    pub const ZERO: Usd = Usd(0);

    /// Returns an amount that is written as plain decimal dollars (`2`, `0.50`, `0.0000025`, `2.5e-6`), or `None` where it is
    /// none or does not fit. What lies beyond twelve places is rounded up.
    pub fn parse(text: &str) -> Option<Usd> {
        let text = text.trim().replace('_', "");
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
            None => (text.as_str(), 0),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        if whole.len() + part.len() == 0 || !is_number(whole) || !is_number(part) {
            return None;
        }
        let digits = format!("{whole}{part}");
        let shift = exponent.checked_add(PLACES as i32)?.checked_sub(i32::try_from(part.len()).ok()?)?;
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Usd::ZERO);
        }
        if shift >= 0 {
            let number: u128 = digits.parse().ok()?;
            let scaled = number.checked_mul(10u128.checked_pow(shift.unsigned_abs())?)?;
            return u64::try_from(scaled).ok().map(Usd);
        }
        let cut = digits.len().saturating_sub(shift.unsigned_abs() as usize);
        let kept: u64 = if cut == 0 { 0 } else { digits[..cut].parse().ok()? };
        let rest = digits[cut..].bytes().any(|b| b != b'0');
        Some(Usd(kept.checked_add(u64::from(rest))?))
    }

    pub fn plus(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }

    pub fn minus(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// Returns the amount for so many tokens at this price.
    fn times(self, tokens: u64) -> Usd {
        Usd(self.0.saturating_mul(tokens))
    }

    /// Returns the amount as scripts read it: dollars, to a millionth.
    pub fn dollars(self) -> f64 {
        self.0.div_ceil(1_000_000) as f64 / 1e6
    }
}

/// `$0.41`: to the cent, rounded up, so that it never shows less than it is; `under $0.01` for less than one.
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CENT: u64 = 10_000_000_000;
        let cents = self.0.div_ceil(CENT);
        if 0 < self.0 && self.0 < CENT {
            return f.write_str("under $0.01");
        }
        write!(f, "${}.{:02}", cents / 100, cents % 100)
    }
}

impl Price {
    /// Returns the price of a token from prices for a million of them, in USD. What is read from a cache costs no more than
    /// other input, so that where its price is not given, that of input bounds it; `cache_write` is what the wire's provider
    /// takes at most for writing, where that is not given.
    pub fn per_million(input: Usd, cached: Option<Usd>, cache_write: Usd, output: Usd) -> Price {
        let a_token = |million: Usd| Usd(million.0.div_ceil(1_000_000));
        Price {
            input: a_token(input),
            cached: a_token(cached.unwrap_or(input)),
            cache_write: a_token(cache_write),
            output: a_token(output),
        }
    }

    /// Returns what was used costs.
    pub fn of(&self, usage: Usage) -> Usd {
        let plain = usage.input.saturating_sub(usage.cached).saturating_sub(usage.cache_write);
        self.input
            .times(plain)
            .plus(self.cached.times(usage.cached))
            .plus(self.cache_write.times(usage.cache_write))
            .plus(self.output.times(usage.output))
    }

    /// Returns what so many tokens cost at the most: nothing of the input is cached, and all of it is written to the cache,
    /// where that costs more.
    pub fn worst(&self, input: u64, output: u64) -> Usd {
        self.input.max(self.cached).max(self.cache_write).times(input).plus(self.output.times(output))
    }
}

impl Worst {
    pub fn of(input: u64, output: u64, price: Option<&Price>) -> Worst {
        Worst { input, output, cost: price.map(|price| price.worst(input, output)) }
    }

    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let rows: &[(&str, Option<u64>)] = &[
            ("2", Some(2_000_000_000_000)),
            ("0.5", Some(500_000_000_000)),
            (".5", Some(500_000_000_000)),
            ("2.", Some(2_000_000_000_000)),
            ("1_000", Some(1_000_000_000_000_000)),
            ("0.0000025", Some(2_500_000)),
            ("2.5e-6", Some(2_500_000)),
            ("1E2", Some(100_000_000_000_000)),
            ("0.000000000001", Some(1)),
            ("0.0000000000001", Some(1)),
            ("0.0000000000010", Some(1)),
            ("1e-30", Some(1)),
            ("0", Some(0)),
            ("0e99", Some(0)),
            ("00.00", Some(0)),
            ("18000000", Some(18_000_000_000_000_000_000)),
            ("19000000", None),
            ("1e400", None),
            ("-1", None),
            ("", None),
            (".", None),
            ("$2", None),
            ("2 usd", None),
            ("inf", None),
            ("1e", None),
            ("1.2.3", None),
        ];
        for (text, expected) in rows {
            assert_eq!(Usd::parse(text).map(|usd| usd.0), *expected, "{text:?}");
        }
    }

    #[test]
    fn amounts_are_never_shown_as_less_than_they_are() {
        let rows = [
            (0, "$0.00"),
            (1, "under $0.01"),
            (9_999_999_999, "under $0.01"),
            (10_000_000_000, "$0.01"),
            (10_000_000_001, "$0.02"),
            (1_840_000_000_000, "$1.84"),
            (1_234_567_890_000_000, "$1234.57"),
        ];
        for (amount, expected) in rows {
            assert_eq!(Usd(amount).to_string(), expected, "{amount}");
        }
        assert_eq!(Usd(184_213_000_001).dollars(), 0.184214);
    }

    #[test]
    fn each_kind_of_token_has_its_price() {
        let usd = |text| Usd::parse(text).unwrap();
        let price = Price::per_million(usd("3"), Some(usd("0.3")), usd("3.75"), usd("15"));
        let usage = Usage { input: 1000, cached: 600, cache_write: 300, output: 10, estimated: false };
        assert_eq!(price.of(usage), usd("0.001755"));
        assert_eq!(price.worst(1000, 10), usd("0.0039"));
        assert!(price.worst(usage.input, usage.output) >= price.of(usage));
        let cheap = Price::per_million(usd("0.0000015"), None, usd("0"), usd("0.02"));
        assert_eq!((cheap.input, cheap.cached), (Usd(2), Usd(2)));
    }
}
