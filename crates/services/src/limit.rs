//! Cutting texts to what the other side takes.

/// What a cut text ends with.
pub const MARK: &str = "…";

/// Cuts a text to a number of characters, the mark included. Returns whether it was cut.
pub fn cut(text: &mut String, max_chars: usize) -> bool {
    cut_with(text, max_chars, MARK)
}

/// Like [`cut`], with another mark.
pub fn cut_with(text: &mut String, max_chars: usize, mark: &str) -> bool {
    if text.char_indices().nth(max_chars).is_none() {
        return false;
    }
    let keep = max_chars.saturating_sub(mark.chars().count());
    let end = text.char_indices().nth(keep).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text.push_str(mark);
    true
}

/// Cuts a text to a number of bytes, the mark included, at a character's end. Returns whether it was cut.
pub fn cut_bytes(text: &mut String, max_bytes: usize) -> bool {
    if text.len() <= max_bytes {
        return false;
    }
    let mut end = max_bytes.saturating_sub(MARK.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.push_str(MARK);
    true
}

/// Cuts a text and adds a warning `<what> cut at <n> characters`.
pub fn cut_reported(text: &mut String, max_chars: usize, what: &str, warnings: &mut Vec<String>) {
    if cut(text, max_chars) {
        warnings.push(format!("{what} cut at {max_chars} characters"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        let mut text = "äöüß".to_string();
        assert!(!cut(&mut text, 4));
        assert!(cut(&mut text, 3));
        assert_eq!(text, "äö…");
        let mut text = "äöüß".to_string();
        assert!(cut_bytes(&mut text, 6));
        assert_eq!(text, "ä…");
        let mut text = "a".repeat(150);
        assert!(cut_with(&mut text, 140, "..."));
        assert_eq!((text.len(), text.ends_with("a...")), (140, true));
    }
}
