//! Tables as the server sends them (`metav1.Table`), and times as they are told in them.

use api_types::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A `metav1.Table`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Table {
    /// `Table`.
    pub kind: String,
    /// `meta.k8s.io/v1`.
    pub api_version: String,
    /// The list's metadata: version, continuation.
    pub metadata: Value,
    /// The headings.
    pub column_definitions: Vec<ColumnDefinition>,
    /// The objects.
    pub rows: Vec<Row>,
}

/// A heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ColumnDefinition {
    /// The heading: `Nominated Node`.
    pub name: String,
    /// `string`, `integer`, `date`.
    #[serde(rename = "type")]
    pub type_: String,
    /// `name` for the object's name, else empty.
    pub format: String,
    /// What the column tells.
    pub description: String,
    /// 0 is always shown, others with `-o wide`.
    pub priority: i32,
}

/// An object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Row {
    /// The cells in the order of the headings.
    pub cells: Vec<Value>,
    /// The object, or as much of it as was asked for.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub object: Value,
}

/// The time since `then` as tables tell it; `<unknown>` if there is no `then`.
#[must_use]
pub fn age(then: Option<Timestamp>, now: Timestamp) -> String {
    then.map_or_else(
        || "<unknown>".to_owned(),
        |then| human_duration(now.duration_since(then).as_secs()),
    )
}

/// A duration in one or two units, fewer the longer it is (`k8s.io/apimachinery/pkg/util/duration`).
#[must_use]
pub fn human_duration(seconds: i64) -> String {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    let two = |big: i64, big_name, small: i64, small_name| {
        let (whole, rest) = (seconds / big, seconds % big / small);
        if rest == 0 {
            format!("{whole}{big_name}")
        } else {
            format!("{whole}{big_name}{rest}{small_name}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        120..600 => two(MINUTE, "m", 1, "s"),
        600..10_800 => format!("{}m", seconds / MINUTE),
        10_800..28_800 => two(HOUR, "h", MINUTE, "m"),
        28_800..172_800 => format!("{}h", seconds / HOUR),
        172_800..691_200 => two(DAY, "d", HOUR, "h"),
        691_200..63_072_000 => format!("{}d", seconds / DAY),
        63_072_000..252_288_000 => two(YEAR, "y", DAY, "d"),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::human_duration;

    /// The cases of Kubernetes' own test of this function.
    #[test]
    fn tells_durations_as_kubectl_does() {
        let cases = [
            (-2, "<invalid>"),
            (-1, "0s"),
            (0, "0s"),
            (1, "1s"),
            (70, "70s"),
            (119, "119s"),
            (120, "2m"),
            (190, "3m10s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (18_300, "5h5m"),
            (28_799, "7h59m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_199, "7d23h"),
            (691_200, "8d"),
            (63_071_999, "729d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
            (252_288_000, "8y"),
            (10_i64.pow(10), "317y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }
}
