//! The page of each code: what it means, an example that produces it, and what to do.

macro_rules! pages {
    ($($code:literal)*) => {
        /// Each code with its page.
        pub const ALL: &[(&str, &str)] =
            &[$(($code, include_str!(concat!("../../../docs/diagnostics/", $code, ".md"))),)*];
    };
}

pages! {
    "HD001" "HD002" "HD003" "HD004" "HD005" "HD006" "HD007" "HD008" "HD009" "HD010" "HD011" "HD012" "HD013" "HD014"
    "HD015" "HD016" "HD017" "HD018" "HD019" "HD020" "HD021" "HD022" "HD023" "HD024" "HD025" "HD026" "HD027" "HD028"
    "HD029" "HD030" "HD031" "HD032" "HD033" "HD034" "HD035" "HD036" "HD037"
}

/// The page of a code.
pub fn page(code: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| known.eq_ignore_ascii_case(code)).map(|(_, page)| *page)
}

/// The example of a page: the text of its first block of YAML.
pub fn example(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("```yaml\n")?;
    rest.split_once("```").map(|(example, _)| example)
}
