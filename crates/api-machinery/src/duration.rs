//! Durations as Go writes them: `10s`, `1m30s`, `250ms`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {0:?}: use e.g. 10s, 5m, 1h30m")]
pub struct DurationError(String);

/// Reads `10s`, `1m30s`, `1h`, `250ms`, or a bare number of seconds.
///
/// # Errors
/// For what is none, and for negative durations.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let fault = || DurationError(text.to_owned());
    let (mut rest, mut total) = (text, 0.0);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(fault)?;
        let value: f64 = rest[..end].parse().map_err(|_| fault())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += value * unit(&rest[..end]).ok_or_else(fault)?;
        rest = &rest[end..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| fault())
}

/// Writes a duration: `1m30s`, `10.5s`, `250ms`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 && nanos > 0 {
        let units = [(1_000_000, "ms"), (1_000, "µs"), (1, "ns")];
        let (unit, name) = units.into_iter().find(|(unit, _)| nanos >= *unit).unwrap_or((1, "ns"));
        return decimal(u64::from(nanos), unit) + name;
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let seconds = decimal(seconds % 60 * 1_000_000_000 + u64::from(nanos), 1_000_000_000);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// A number of units, which are a power of ten of the amount, without zeros at the end.
fn decimal(amount: u64, unit: u32) -> String {
    let (whole, rest) = (amount / u64::from(unit), amount % u64::from(unit));
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{rest:0width$}").trim_end_matches('0').to_owned()
}

fn unit(name: &str) -> Option<f64> {
    match name {
        "ns" => Some(1e-9),
        "us" | "µs" => Some(1e-6),
        "ms" => Some(0.001),
        "s" => Some(1.0),
        "m" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for text in ["0s", "10s", "10.5s", "1m0.25s", "1h0m0s", "250ms", "1.5µs", "7ns", "25h1m1s"]
        {
            assert_eq!(format(parse(text).unwrap()), text);
        }
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        assert_eq!(parse("0"), Ok(Duration::ZERO));
        assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("1h2m3s"), Ok(Duration::from_secs(3723)));
        assert_eq!(parse("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("5us"), Ok(Duration::from_micros(5)));
        for bad in ["s", "10x", "-1s", "5m3"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
