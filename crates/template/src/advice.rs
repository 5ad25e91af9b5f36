//! What helps someone whose template failed: mistakes that many make, by what stands in the source.

/// The help for words that stand in an action only because nothing ends it.
pub(crate) const NOT_CLOSED: &str = "the action is not closed with }} on this line";

/// What to say besides the message, if anything.
pub(crate) fn on(source: &str, at: u32, message: &str) -> Option<String> {
    let at = (at as usize).min(source.len());
    let rest = source.get(at..)?;
    let line = rest.lines().next().unwrap_or("");
    let word: &str = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("");
    if message.starts_with("function ") {
        if !line.contains("}}") {
            return Some(NOT_CLOSED.into());
        }
        if rest.get(word.len()..).is_some_and(|tail| tail.starts_with('.')) {
            return Some(format!("the name of a value begins with a dot: .{word}"));
        }
        return None;
    }
    if message.starts_with("unexpected") && message.contains("operand") {
        let functions =
            [("=", "eq a b"), ("!", "ne a b"), ("<", "lt a b"), (">", "gt a b"), ("&", "and a b")];
        let (_, call) = functions.into_iter().find(|(sign, _)| line.starts_with(sign))?;
        return Some(format!("there are no operators; call a function: {call}"));
    }
    if message.contains("incompatible types for comparison") {
        return Some("int, float64 and toString convert a value".into());
    }
    if message.contains("in type []") {
        return Some("this is a list: range over it, or take one item with (index list 0)".into());
    }
    if message.starts_with("wrong type for value") {
        return Some("the value stands at the wrong place, or must be converted (int, toString)".into());
    }
    if message.starts_with("unexpected {{end}}") {
        return Some("no if, range, with, block or define is open here".into());
    }
    None
}
