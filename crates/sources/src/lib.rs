//! Where objects come from. A source turns what it watches into [`Change`]s; what they mean is decided elsewhere.
//!
//! ```
//! use herald_sources::{Change, directory::Directory};
//!
//! # let dir = tempfile::tempdir()?;
//! # std::fs::write(dir.path().join("web.yaml"), "kind: Rollout\nmetadata: {name: web, namespace: shop}")?;
//! let mut directory = Directory::new(dir.path());
//! let scan = directory.scan();
//! assert!(matches!(&scan.changes[..], [Change::Upsert { key, .. }] if key.to_string() == "Rollout shop/web"));
//! // Nothing changed, so there is nothing to tell.
//! assert!(directory.scan().changes.is_empty());
//! # Ok::<(), std::io::Error>(())
//! ```

pub mod directory;
pub mod kubernetes;
pub mod lease;

use std::{fmt, path::PathBuf};

use herald_value::Value;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// Its kind, such as `Rollout`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// A change of one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It is new or different.
    Upsert {
        /// Which.
        key: ObjectKey,
        /// The object as it is now.
        object: Value,
        /// The file it came from.
        file: Option<PathBuf>,
    },
    /// It is gone.
    Delete {
        /// Which.
        key: ObjectKey,
    },
}

/// Something that a source can't read. The rest goes on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong and what to do, as a sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.message)
    }
}
