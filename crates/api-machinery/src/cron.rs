//! When something is due again and again: `*/5 * * * *`, `@daily`, `@every 90s`, in a time zone.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>

use std::time::Duration;

use api_types::jiff::{Timestamp, tz::TimeZone};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::duration;

const FIELDS: usize = 5;

/// The longest duration that there is in Go: 292 years.
const LONGEST: Duration = Duration::from_nanos(i64::MAX.unsigned_abs());

/// A schedule.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// By the clock on the wall.
    Cron(Box<Cron>),
    /// By the time since the last one, in whole seconds.
    Every(Duration),
}

impl Schedule {
    /// What the text says.
    ///
    /// # Errors
    /// Why it says nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(time) = text.strip_prefix("@every ") {
            let time = period(time)
                .map_err(|error| format!("failed to parse duration {text}: {error}"))?;
            return Ok(Self::Every(Duration::from_secs(time.as_secs().max(1))));
        }
        let text = if text == "@midnight" { "@daily" } else { text };
        let fields: Vec<_> = text.split_whitespace().collect();
        if !text.starts_with('@') && fields.len() != FIELDS {
            let (found, shown) = (fields.len(), fields.join(" "));
            return Err(format!("expected exactly {FIELDS} fields, found {found}: [{shown}]"));
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .sloppy_ranges(true)
            .build();
        // What others count by: the third Friday of a month, the last day.
        if text.contains(['#', '+']) {
            return Err(format!("failed to parse int from {text}"));
        }
        parser.parse(text).map(|cron| Self::Cron(Box::new(cron))).map_err(|error| error.to_string())
    }

    /// The first time after this one; `None` if there is none.
    #[must_use]
    pub fn after(&self, time: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let next = time.checked_add(*every).ok()?;
                Timestamp::from_second(next.as_second()).ok()
            }
            Self::Cron(cron) => {
                let next = cron.find_next_occurrence(&time.to_zoned(zone.clone()), false);
                next.ok().map(|next| next.timestamp())
            }
        }
    }
}

/// A duration as Go reads it, where a number needs a unit if it is not zero.
fn period(text: &str) -> Result<Duration, String> {
    if text != "0" && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("time: missing unit in duration {text:?}"));
    }
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if time > LONGEST {
        return Err(format!("time: invalid duration {text:?}"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, time: &str, zone: &str) -> String {
        let (schedule, time) = (Schedule::parse(schedule).unwrap(), time.parse().unwrap());
        let zone = TimeZone::get(zone).unwrap();
        schedule.after(time, &zone).map_or_else(String::new, |next| next.to_string())
    }

    #[test]
    fn what_is_due_is_due_by_the_clock_of_its_zone() {
        let check = |schedule: &str, time: &str, zone: &str, expected: &str| {
            assert_eq!(next(schedule, time, zone), expected, "{schedule} after {time} in {zone}");
        };
        let new_year = "2026-01-01T00:00:00Z";
        check("*/5 * * * *", new_year, "UTC", "2026-01-01T00:05:00Z");
        check("0/20 * * * ?", "2026-01-01T00:20:00Z", "UTC", "2026-01-01T00:40:00Z");
        check("@hourly", "2026-01-01T00:30:30Z", "UTC", "2026-01-01T01:00:00Z");
        check("@midnight", "2026-01-01T00:30:30Z", "UTC", "2026-01-02T00:00:00Z");
        check("@every 90s", "2026-01-01T00:00:01.5Z", "UTC", "2026-01-01T00:01:31Z");
        check("0 8 * * *", new_year, "Europe/Berlin", "2026-01-01T07:00:00Z");
        check("0 8 * JUL *", new_year, "Europe/Berlin", "2026-07-01T06:00:00Z");
        // Either day does.
        check("0 0 13 * FRI", "2026-01-02T00:00:00Z", "UTC", "2026-01-09T00:00:00Z");
        check("0 0 13 * FRI", "2026-01-09T00:00:00Z", "UTC", "2026-01-13T00:00:00Z");
        check("0 0 30 2 *", new_year, "UTC", "");
        // Not as long as there are times.
        check("@every 2562047h", "9999-12-01T00:00:00Z", "UTC", "");
    }

    #[test]
    fn what_is_no_schedule_is_told() {
        let five = "expected exactly 5 fields, found 1: [error]";
        assert_eq!(Schedule::parse("error").unwrap_err(), five);
        let unit = r#"failed to parse duration @every 90: time: missing unit in duration "90""#;
        assert_eq!(Schedule::parse("@every 90").unwrap_err(), unit);
        let fields =
            ["", "* * * *", "* * * * * *", "60 * * * *", "* * * * FRI#3", "@often", "@every soon"];
        let times = ["@every ", "@every 90", "@every 2562048h", "@every 18446744073709551615"];
        for wrong in fields.into_iter().chain(times) {
            assert!(Schedule::parse(wrong).is_err(), "{wrong}");
        }
    }
}
