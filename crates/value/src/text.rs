//! Go's `string`: immutable bytes, usually UTF-8.

use std::{
    borrow::Borrow,
    borrow::Cow,
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

/// A Go string: shared, immutable bytes. Go strings need not be UTF-8 (`b64dec` and `trunc` make others),
/// so text is only lent out where the bytes are.
#[derive(Clone, Eq, PartialOrd, Ord)]
pub struct Str(Arc<[u8]>);

impl Str {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if the bytes are UTF-8.
    pub fn to_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text, with U+FFFD for each byte that is not UTF-8.
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        lossy(&self.0)
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Bytes as text, with U+FFFD for each byte that is not UTF-8: Go replaces single bytes, where the standard library
/// replaces what could have been one character.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(out)
}

impl PartialEq for Str {
    #[inline]
    fn eq(&self, other: &Str) -> bool {
        same(&self.0, &other.0)
    }
}

/// As that of its bytes, which maps are asked with.
impl Hash for Str {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Whether two texts are equal. Names of fields are short, and calling a function costs more than comparing them: two
/// words, which overlap where the text is shorter than both, are enough.
#[inline]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        17.. => a == b,
        8.. => a.first_chunk::<8>() == b.first_chunk::<8>() && a.last_chunk::<8>() == b.last_chunk::<8>(),
        4.. => a.first_chunk::<4>() == b.first_chunk::<4>() && a.last_chunk::<4>() == b.last_chunk::<4>(),
        _ => a.iter().zip(b).all(|(a, b)| a == b),
    }
}

impl Default for Str {
    fn default() -> Self {
        Str::from("")
    }
}

impl fmt::Debug for Str {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str_lossy(), f)
    }
}

impl Borrow<[u8]> for Str {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Str {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq<str> for Str {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl PartialEq<&str> for Str {
    fn eq(&self, other: &&str) -> bool {
        *self.0 == *other.as_bytes()
    }
}

impl From<&str> for Str {
    fn from(text: &str) -> Self {
        Str(Arc::from(text.as_bytes()))
    }
}

impl From<String> for Str {
    fn from(text: String) -> Self {
        Str(Arc::from(text.into_bytes()))
    }
}

impl From<Cow<'_, str>> for Str {
    fn from(text: Cow<'_, str>) -> Self {
        Str(Arc::from(text.as_bytes()))
    }
}

impl From<&[u8]> for Str {
    fn from(bytes: &[u8]) -> Self {
        Str(Arc::from(bytes))
    }
}

impl From<Vec<u8>> for Str {
    fn from(bytes: Vec<u8>) -> Self {
        Str(Arc::from(bytes))
    }
}

impl From<Arc<[u8]>> for Str {
    fn from(bytes: Arc<[u8]>) -> Self {
        Str(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::{lossy, same};

    #[test]
    fn texts_differ_in_any_byte() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).map(|n| b'a' + n % 26).collect();
            assert!(same(&text, &text.clone()), "{length}");
            assert!(!same(&text, &[&text[..], b"x"].concat()), "{length}");
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(!same(&text, &other), "{length}, {at}");
            }
        }
    }

    #[test]
    fn each_bad_byte_is_replaced_by_itself() {
        let table: [(&[u8], &str); 5] = [
            (b"plain", "plain"),
            ("日本".as_bytes(), "日本"),
            (b"\xe6\x97", "\u{fffd}\u{fffd}"),
            (b"a\xffb\xf0\x9f\x92", "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}"),
            (b"", ""),
        ];
        for (bytes, wanted) in table {
            assert_eq!(lossy(bytes), wanted, "{bytes:?}");
        }
    }
}
