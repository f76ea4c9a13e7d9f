//! What expressions are about, and what comes of them.

use std::{any::Any, cmp::Ordering, collections::BTreeMap, fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    budget::{Budget, EvaluationError},
    types::Type,
};

/// A value.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// 64 bits, with a sign.
    Int(i64),
    /// 64 bits, without one.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Arc<str>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// Values in their order.
    List(Arc<Vec<Value>>),
    /// Values by key; objects are such, too.
    Map(Arc<BTreeMap<Key, Value>>),
    /// An object that an expression has made: its type's name and its fields.
    Struct(Arc<str>, Arc<BTreeMap<Key, Value>>),
    /// A moment.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(SignedDuration),
    /// A value that may be missing.
    Optional(Option<Arc<Value>>),
    /// A type's name.
    Type(Arc<str>),
    /// What a library, or who evaluates, brings along.
    Opaque(Arc<dyn Opaque>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// `true` or `false`.
    Bool(bool),
    /// A number that is one.
    Int(i64),
    /// A number beyond those.
    Uint(u64),
    /// Text.
    String(Arc<str>),
}

/// A value whose inside CEL does not know.
pub trait Opaque: Any + fmt::Debug + Send + Sync {
    /// As signatures name its type.
    fn type_name(&self) -> &str;

    /// Whether another value is the same.
    fn equals(&self, other: &dyn Opaque) -> bool;

    /// A field, if it has such. It may be found out only now, out of this budget.
    fn field(&self, _name: &str, _budget: &mut Budget) -> Option<Result<Value, EvaluationError>> {
        None
    }
}

impl dyn Opaque {
    /// The type behind it, if it is this one.
    #[must_use]
    pub fn downcast<T: Opaque>(&self) -> Option<&T> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }
}

impl Value {
    /// Text.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::String(Arc::from(text.as_ref()))
    }

    /// Values in their order.
    #[must_use]
    pub fn list(values: Vec<Self>) -> Self {
        Self::List(Arc::new(values))
    }

    /// A value that is there.
    #[must_use]
    pub fn some(self) -> Self {
        Self::Optional(Some(Arc::new(self)))
    }

    /// A library's.
    #[must_use]
    pub fn opaque(value: impl Opaque) -> Self {
        Self::Opaque(Arc::new(value))
    }

    /// The name of its type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Struct(name, _) => name,
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// Whether a parameter of that type takes it; of lists and maps nobody looks into them.
    pub(crate) fn is_a(&self, type_: &Type) -> bool {
        match (type_, self) {
            (Type::Dyn | Type::Param(_), _)
            | (Type::Null, Self::Null)
            | (Type::Bool, Self::Bool(_))
            | (Type::Int, Self::Int(_))
            | (Type::Uint, Self::Uint(_))
            | (Type::Double, Self::Double(_))
            | (Type::String, Self::String(_))
            | (Type::Bytes, Self::Bytes(_))
            | (Type::Timestamp, Self::Timestamp(_))
            | (Type::Duration, Self::Duration(_))
            | (Type::List(_), Self::List(_))
            | (Type::Map(..), Self::Map(_))
            | (Type::Object(_), Self::Map(_) | Self::Struct(..))
            | (Type::Optional(_), Self::Optional(_))
            | (Type::Type, Self::Type(_)) => true,
            (Type::Named(name), value) => &**name == value.type_name(),
            _ => false,
        }
    }

    /// The fields of an object, or the entries of a map.
    #[must_use]
    pub fn entries(&self) -> Option<&BTreeMap<Key, Self>> {
        match self {
            Self::Map(entries) | Self::Struct(_, entries) => Some(entries),
            _ => None,
        }
    }

    /// As a key of a map. Numbers that are equal are the same key.
    pub(crate) fn as_key(&self) -> Option<Key> {
        match self {
            Self::Bool(it) => Some(Key::Bool(*it)),
            Self::Int(it) => Some(Key::Int(*it)),
            Self::Uint(it) => Some(i64::try_from(*it).map_or(Key::Uint(*it), Key::Int)),
            Self::Double(it) => whole(*it).map(Key::Int),
            Self::String(it) => Some(Key::String(it.clone())),
            _ => None,
        }
    }

    /// The same, for a look into a map: there it is compared, which is paid for by its length.
    pub(crate) fn as_paid_key(&self, budget: &mut Budget) -> Result<Option<Key>, EvaluationError> {
        let key = self.as_key();
        if let Some(key) = &key {
            key.pay(budget)?;
        }
        Ok(key)
    }

    /// Whether both are the same. Numbers are compared by value, and values of different kinds are not the same.
    pub(crate) fn equals(
        &self,
        other: &Self,
        budget: &mut Budget,
    ) -> Result<bool, EvaluationError> {
        budget.spend(1)?;
        if let Some(order) = self.compare_numbers(other) {
            return Ok(order == Some(Ordering::Equal));
        }
        Ok(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => {
                budget.spend_on_text(a.len().min(b.len()))?;
                a == b
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                budget.spend_on_text(a.len().min(b.len()))?;
                a == b
            }
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && all_equal(a, b, budget)?,
            (Self::Map(a), Self::Map(b)) => maps_equal(a, b, budget)?,
            (Self::Struct(a_name, a), Self::Struct(b_name, b)) => {
                a_name == b_name && maps_equal(a, b, budget)?
            }
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => a.equals(b, budget)?,
            (Self::Optional(a), Self::Optional(b)) => a.is_none() && b.is_none(),
            (Self::Opaque(a), Self::Opaque(b)) => a.equals(&**b),
            _ => false,
        })
    }

    /// Which comes first, of two that can be compared; of numbers one of which is none, neither does.
    pub(crate) fn compare(
        &self,
        other: &Self,
        budget: &mut Budget,
    ) -> Result<Option<Ordering>, EvaluationError> {
        budget.spend(1)?;
        if let Some(order) = self.compare_numbers(other) {
            return Ok(order);
        }
        let order = match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::String(a), Self::String(b)) => {
                budget.spend_on_text(a.len().min(b.len()))?;
                a.cmp(b)
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                budget.spend_on_text(a.len().min(b.len()))?;
                a.cmp(b)
            }
            (Self::Timestamp(a), Self::Timestamp(b)) => a.cmp(b),
            (Self::Duration(a), Self::Duration(b)) => a.cmp(b),
            _ => return Err(EvaluationError::new("no such overload")),
        };
        Ok(Some(order))
    }

    /// Nothing if one of them is no number.
    fn compare_numbers(&self, other: &Self) -> Option<Option<Ordering>> {
        let order = match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Int(a), Self::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Int(a), Self::Double(b)) => against(i128::from(*a), *b),
            (Self::Uint(a), Self::Double(b)) => against(i128::from(*a), *b),
            (Self::Double(a), Self::Int(b)) => against(i128::from(*b), *a).map(Ordering::reverse),
            (Self::Double(a), Self::Uint(b)) => against(i128::from(*b), *a).map(Ordering::reverse),
            _ => return None,
        };
        Some(order)
    }
}

impl Key {
    /// Text.
    #[must_use]
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::String(Arc::from(text.as_ref()))
    }

    /// Pays for a look at it, or for a copy.
    pub(crate) fn pay(&self, budget: &mut Budget) -> Result<(), EvaluationError> {
        if let Self::String(it) = self { budget.spend_on_text(it.len()) } else { Ok(()) }
    }
}

impl From<&Key> for Value {
    fn from(key: &Key) -> Self {
        match key {
            Key::Bool(it) => Self::Bool(*it),
            Key::Int(it) => Self::Int(*it),
            Key::Uint(it) => Self::Uint(*it),
            Key::String(it) => Self::String(it.clone()),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(it) => write!(f, "{it}"),
            Self::Int(it) => write!(f, "{it}"),
            Self::Uint(it) => write!(f, "{it}"),
            Self::String(it) => f.write_str(it),
        }
    }
}

fn all_equal(a: &[Value], b: &[Value], budget: &mut Budget) -> Result<bool, EvaluationError> {
    for (a, b) in a.iter().zip(b) {
        if !a.equals(b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps_equal(
    a: &BTreeMap<Key, Value>,
    b: &BTreeMap<Key, Value>,
    budget: &mut Budget,
) -> Result<bool, EvaluationError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for ((a_key, a), (b_key, b)) in a.iter().zip(b) {
        a_key.pay(budget)?;
        if a_key != b_key || !a.equals(b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The integer that a number is, if it is one.
#[allow(clippy::cast_possible_truncation, reason = "within the bounds it is exact")]
pub(crate) fn whole(number: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    ((-LIMIT..LIMIT).contains(&number) && number.fract() == 0.0).then_some(number as i64)
}

/// An integer beside a number that need not be one.
#[allow(clippy::cast_possible_truncation, reason = "far beyond both sides it saturates")]
fn against(integer: i128, number: f64) -> Option<Ordering> {
    if number.is_nan() {
        return None;
    }
    let floor = number.floor();
    let order = integer.cmp(&(floor as i128));
    Some(if order == Ordering::Equal && floor < number { Ordering::Less } else { order })
}
