//! What runs functions: a row for each runtime, and nothing about runtimes elsewhere but how each image is built.

use std::num::NonZeroU32;

/// What runs functions. Whatever it is, an instance answers `POST` on port 8080, and `GET /readyz` once it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// `spec.runtime`.
    pub name: &'static str,
    /// Where the image of a version comes from.
    pub image: RuntimeImage,
    /// So many calls at a time an instance works on, unless `containerConcurrency` says it; if there is a limit at all.
    pub concurrency: Option<NonZeroU32>,
    /// Whether an instance can wait for the function that it is to become.
    pub is_poolable: bool,
}

/// Where the image of a version comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeImage {
    /// It is built of `source`, as this language needs it.
    Built(Language),
    /// It is `spec.image`.
    Given,
}

/// What source code is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Python 3.
    Python,
}

impl Runtime {
    /// Source code in Python, with packages of its own if it names some.
    pub const PYTHON: Runtime = Runtime {
        name: "python",
        image: RuntimeImage::Built(Language::Python),
        concurrency: NonZeroU32::new(20),
        is_poolable: true,
    };
    /// An image that speaks HTTP itself.
    pub const CONTAINER: Runtime = Runtime {
        name: "container",
        image: RuntimeImage::Given,
        concurrency: None,
        is_poolable: false,
    };
    /// All of them; the first is the one of a function that names none.
    pub const ALL: [Runtime; 2] = [Self::PYTHON, Self::CONTAINER];

    /// The one of this name, or the first.
    #[must_use]
    pub fn named(name: Option<&str>) -> Option<Runtime> {
        let [usual, ..] = Self::ALL;
        name.map_or(Some(usual), |name| Self::ALL.into_iter().find(|it| it.name == name))
    }
}
