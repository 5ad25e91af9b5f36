//! Numbers as text, like Go's `strconv`.
