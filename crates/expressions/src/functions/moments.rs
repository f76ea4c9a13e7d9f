//! What day it is at a moment, and how long a span of time is.

use jiff::{
    Timestamp, Zoned,
    tz::{Offset, TimeZone},
};

use super::{
    arguments::{duration, text, timestamp},
    signature::{Answer, Row},
};
use crate::{budget::EvaluationError, value::Value};

/// A part of a moment, in UTC and in a zone.
macro_rules! parts {
    ($($name:literal $part:expr),* $(,)?; $($rest:expr),* $(,)?) => {
        &[
            $(
                (concat!("(timestamp).", $name, "(): int"), |_, a| part(timestamp(a, 0)?, "UTC", $part)),
                (concat!("(timestamp).", $name, "(string): int"), |_, a| {
                    part(timestamp(a, 0)?, text(a, 1)?, $part)
                }),
            )*
            $($rest,)*
        ]
    };
}

pub(super) const ROWS: &[Row] = parts!(
    "getFullYear" |it| i64::from(it.year()),
    "getMonth" |it| i64::from(it.month()) - 1,
    "getDate" |it| i64::from(it.day()),
    "getDayOfMonth" |it| i64::from(it.day()) - 1,
    "getDayOfWeek" |it| i64::from(it.weekday().to_sunday_zero_offset()),
    "getDayOfYear" |it| i64::from(it.day_of_year()) - 1,
    "getHours" |it| i64::from(it.hour()),
    "getMinutes" |it| i64::from(it.minute()),
    "getSeconds" |it| i64::from(it.second()),
    "getMilliseconds" |it| i64::from(it.millisecond());
    ("(duration).getHours(): int", |_, a| Ok(Value::Int(duration(a, 0)?.as_hours()))),
    ("(duration).getMinutes(): int", |_, a| Ok(Value::Int(duration(a, 0)?.as_mins()))),
    ("(duration).getSeconds(): int", |_, a| Ok(Value::Int(duration(a, 0)?.as_secs()))),
    ("(duration).getMilliseconds(): int", |_, a| {
        Ok(Value::Int(i64::from(duration(a, 0)?.subsec_millis())))
    }),
);

fn part(moment: Timestamp, zone: &str, part: fn(&Zoned) -> i64) -> Answer {
    let zone = parse(zone)
        .ok_or_else(|| EvaluationError::new(format_args!("unknown time zone {zone}")))?;
    Ok(Value::Int(part(&moment.to_zoned(zone))))
}

/// `UTC`, `-07:30`, or a name that the host knows.
fn parse(zone: &str) -> Option<TimeZone> {
    if zone.is_empty() || zone == "UTC" {
        return Some(TimeZone::UTC);
    }
    let Some((hours, minutes)) = zone.split_once(':') else { return TimeZone::get(zone).ok() };
    let is_negative = hours.starts_with('-');
    let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    let seconds = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
    let offset = Offset::from_seconds(if is_negative { -seconds } else { seconds });
    offset.ok().map(TimeZone::fixed)
}
