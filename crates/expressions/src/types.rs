//! The types that expressions are checked by.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// A type of CEL's, or one of Kubernetes'.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// Whatever it turns out to be.
    Dyn,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// 64 bits, with a sign.
    Int,
    /// 64 bits, without one.
    Uint,
    /// A floating-point number.
    Double,
    /// Text.
    String,
    /// Octets.
    Bytes,
    /// A moment.
    Timestamp,
    /// A span of time.
    Duration,
    /// Values of a type, in their order.
    List(Arc<Type>),
    /// Values by key.
    Map(Arc<Type>, Arc<Type>),
    /// A value that may be missing.
    Optional(Arc<Type>),
    /// A type, as `type()` says it.
    Type,
    /// Fields that a schema knows.
    Object(Arc<ObjectType>),
    /// A type of a library's, or of an object that an expression makes, by name.
    Named(Arc<str>),
    /// Any type, but the same wherever a signature names it; the type of what an empty list has.
    Param(char),
}

/// An object's fields.
#[derive(Debug, PartialEq)]
pub struct ObjectType {
    /// What errors call it.
    pub name: String,
    /// The fields there are.
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// A list of these.
    #[must_use]
    pub fn list(of: Self) -> Self {
        Self::List(Arc::new(of))
    }

    /// These by keys of that type.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// One of these, or none.
    #[must_use]
    pub fn optional(of: Self) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// An object with these fields.
    #[must_use]
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let fields = fields.into_iter().map(|(name, type_)| (name.to_owned(), type_)).collect();
        Self::Object(Arc::new(ObjectType { name: name.to_owned(), fields }))
    }

    /// The type of a library's, or of an object that expressions make.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::Named(Arc::from(name))
    }

    /// Whether nothing is known of it before it is there.
    pub(crate) fn is_dynamic(&self) -> bool {
        matches!(self, Self::Dyn | Self::Param(_))
    }

    /// Whether it is that type; an empty list is a list of anything.
    pub(crate) fn is_exactly(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Param(_), _) => true,
            (Self::List(it), Self::List(wanted)) | (Self::Optional(it), Self::Optional(wanted)) => {
                it.is_exactly(wanted)
            }
            (Self::Map(key, it), Self::Map(wanted_key, wanted)) => {
                key.is_exactly(wanted_key) && it.is_exactly(wanted)
            }
            (it, wanted) => it == wanted,
        }
    }

    /// Reads a type as signatures write it: `list(A)`, `map(string, int)`, `net.IP`.
    pub(crate) fn parse(text: &str) -> Self {
        let text = text.trim();
        if let Some((outer, inner)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            return match outer {
                "list" => Self::list(Self::parse(inner)),
                "optional" => Self::optional(Self::parse(inner)),
                _ => {
                    let (key, value) = inner.split_once(',').unwrap_or((inner, "dyn"));
                    Self::map(Self::parse(key), Self::parse(value))
                }
            };
        }
        match text {
            "dyn" => Self::Dyn,
            "null" => Self::Null,
            "bool" => Self::Bool,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "timestamp" => Self::Timestamp,
            "duration" => Self::Duration,
            "type" => Self::Type,
            "A" => Self::Param('A'),
            "B" => Self::Param('B'),
            name => Self::named(name),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn => f.write_str("dyn"),
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type => f.write_str("type"),
            Self::Object(object) => f.write_str(&object.name),
            Self::Named(name) => f.write_str(name),
            Self::Param(_) => f.write_str("dyn"),
        }
    }
}
