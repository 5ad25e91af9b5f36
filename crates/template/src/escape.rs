//! The escapes of `html`, `js` and `urlquery`.

/// Go's `template.HTMLEscape`.
pub(crate) fn html(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            0 => out.extend_from_slice("\u{fffd}".as_bytes()),
            b'"' => out.extend_from_slice(b"&#34;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            other => out.push(*other),
        }
    }
}

/// Go's `template.JSEscape`.
pub(crate) fn js(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\\' => out.extend_from_slice(b"\\\\"),
                '\'' => out.extend_from_slice(b"\\'"),
                '"' => out.extend_from_slice(b"\\\""),
                '<' | '>' | '&' | '=' | '\0'..='\x1f' => {
                    out.extend_from_slice(format!("\\u{:04X}", char as u32).as_bytes());
                }
                ' '..='\x7f' => out.push(char as u8),
                c if printable(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => out.extend_from_slice(format!("\\u{:04X}", c as u32).as_bytes()),
            }
        }
        // Go decodes each such byte as U+FFFD, which is printable, and copies the byte.
        out.extend_from_slice(chunk.invalid());
    }
}

fn printable(char: char) -> bool {
    let mut buffer = [0; 4];
    let quoted = herald_value::num::quote(char.encode_utf8(&mut buffer).as_bytes());
    !quoted.contains('\\')
}

/// Go's `url.QueryEscape`.
pub(crate) fn query(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(*byte),
            b' ' => out.push(b'+'),
            other => out.extend_from_slice(format!("%{other:02X}").as_bytes()),
        }
    }
}
