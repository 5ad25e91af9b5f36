//! The marks of texts: Slack's mrkdwn and the part of Markdown that cards know.

use maud::{Markup, PreEscaped, html};

use super::link;

/// Marks nest no deeper.
const DEEPEST: usize = 6;

/// Which marks there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `*bold*`, `_italic_`, `~gone~`, `<https://…|words>`.
    Slack,
    /// `**bold**`, `_italic_`, `*italic*`, `[words](https://…)`.
    Markdown,
}

/// A text with its marks drawn.
pub(super) fn inline(text: &str, dialect: Dialect) -> Markup {
    let mut out = String::new();
    write(text, dialect, 0, &mut out);
    PreEscaped(out)
}

fn escape(text: &str, dialect: Dialect, out: &mut String) {
    // Slack's texts have three entities.
    let plain = match dialect {
        Dialect::Slack => text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"),
        Dialect::Markdown => text.to_owned(),
    };
    out.push_str(&html! { (plain) }.into_string());
}

fn write(text: &str, dialect: Dialect, depth: usize, out: &mut String) {
    let mut rest = text;
    let mut plain = 0;
    let mut before = ' ';
    while let Some(at) = rest.get(plain..) {
        let Some(next) = at.chars().next() else { break };
        match if depth < DEEPEST { mark(at, before, dialect) } else { None } {
            Some((drawn, length)) => {
                escape(rest.get(..plain).unwrap_or_default(), dialect, out);
                drawn.write(dialect, depth + 1, out);
                before = at.get(..length).and_then(|mark| mark.chars().last()).unwrap_or(' ');
                rest = at.get(length..).unwrap_or_default();
                plain = 0;
            }
            None => {
                plain += next.len_utf8();
                before = next;
            }
        }
    }
    escape(rest, dialect, out);
}

enum Drawn<'t> {
    Tag(&'static str, &'t str),
    Code(&'t str),
    Link(&'t str, &'t str),
    Mention(String),
    Emoji(&'static str),
}

impl Drawn<'_> {
    fn write(&self, dialect: Dialect, depth: usize, out: &mut String) {
        match self {
            Drawn::Tag(tag, inner) => {
                out.push_str(&format!("<{tag}>"));
                write(inner, dialect, depth, out);
                out.push_str(&format!("</{tag}>"));
            }
            Drawn::Code(inner) => {
                out.push_str("<code>");
                escape(inner, dialect, out);
                out.push_str("</code>");
            }
            Drawn::Link(url, words) => {
                let mut inner = String::new();
                write(words, dialect, DEEPEST, &mut inner);
                out.push_str(&link(&url.replace("&amp;", "&"), &PreEscaped(inner)).into_string());
            }
            Drawn::Mention(name) => out.push_str(&html! { span.mention { (name) } }.into_string()),
            Drawn::Emoji(emoji) => out.push_str(emoji),
        }
    }
}

/// The mark that begins here, and how long it is.
fn mark(text: &str, before: char, dialect: Dialect) -> Option<(Drawn<'_>, usize)> {
    let free = !before.is_alphanumeric();
    let first = text.chars().next()?;
    match (first, dialect) {
        ('`', _) => between(text, "`").map(|(inner, length)| (Drawn::Code(inner), length)),
        ('*', Dialect::Slack) if free => tag(text, "*", "b"),
        ('~', Dialect::Slack) if free => tag(text, "~", "s"),
        ('_', _) if free => tag(text, "_", "i"),
        ('<', Dialect::Slack) => bracket(text),
        (':', Dialect::Slack) => emoji(text),
        ('*', Dialect::Markdown) if text.starts_with("**") => tag(text, "**", "b"),
        ('*', Dialect::Markdown) if free => tag(text, "*", "i"),
        ('[', Dialect::Markdown) => {
            let (words, rest) = text.get(1..)?.split_once("](")?;
            let (url, _) = rest.split_once(')')?;
            let one = !words.contains(['\n', '[']) && !url.contains(char::is_whitespace);
            one.then(|| (Drawn::Link(url, words), words.len() + url.len() + 4))
        }
        _ => None,
    }
}

fn between<'t>(text: &'t str, mark: &str) -> Option<(&'t str, usize)> {
    let rest = text.strip_prefix(mark)?;
    let end = rest.find(mark).filter(|end| *end > 0)?;
    let inner = rest.get(..end)?;
    (!inner.contains('\n')).then(|| (inner, end + 2 * mark.len()))
}

fn tag<'t>(text: &'t str, mark: &str, tag: &'static str) -> Option<(Drawn<'t>, usize)> {
    let (inner, length) = between(text, mark)?;
    let after = text.get(length..).and_then(|rest| rest.chars().next()).unwrap_or(' ');
    let tight = !inner.starts_with(char::is_whitespace) && !inner.ends_with(char::is_whitespace);
    (tight && (mark.len() > 1 || !after.is_alphanumeric())).then_some((Drawn::Tag(tag, inner), length))
}

/// `<url|words>`, `<@user>`, `<#channel|name>`, `<!here>`.
fn bracket(text: &str) -> Option<(Drawn<'_>, usize)> {
    let inner = text.get(1..text.find('>')?)?;
    if inner.is_empty() || inner.contains('\n') {
        return None;
    }
    let length = inner.len() + 2;
    let (target, words) =
        inner.split_once('|').map_or((inner, None), |(target, words)| (target, Some(words)));
    let drawn = match target.chars().next()? {
        '@' => Drawn::Mention(format!("@{}", words.unwrap_or(target.get(1..)?))),
        '#' => Drawn::Mention(format!("#{}", words.unwrap_or(target.get(1..)?))),
        '!' => {
            Drawn::Mention(format!("@{}", words.unwrap_or(target.get(1..)?).trim_start_matches("subteam^")))
        }
        _ if target.contains(':') => Drawn::Link(target, words.unwrap_or(target)),
        _ => return None,
    };
    Some((drawn, length))
}

/// The emoji that notifications use; others keep their names.
const EMOJI: [(&str, &str); 20] = [
    ("white_check_mark", "✅"),
    ("heavy_check_mark", "✔️"),
    ("x", "❌"),
    ("warning", "⚠️"),
    ("rotating_light", "🚨"),
    ("rocket", "🚀"),
    ("tada", "🎉"),
    ("fire", "🔥"),
    ("hourglass", "⌛"),
    ("hourglass_flowing_sand", "⏳"),
    ("double_vertical_bar", "⏸️"),
    ("pause_button", "⏸️"),
    ("arrow_forward", "▶️"),
    ("arrows_counterclockwise", "🔄"),
    ("rewind", "⏪"),
    ("bell", "🔔"),
    ("eyes", "👀"),
    ("red_circle", "🔴"),
    ("large_green_circle", "🟢"),
    ("large_yellow_circle", "🟡"),
];

fn emoji(text: &str) -> Option<(Drawn<'_>, usize)> {
    let (name, _) = text.get(1..)?.split_once(':')?;
    let (_, drawn) = EMOJI.iter().find(|(known, _)| *known == name)?;
    Some((Drawn::Emoji(drawn), name.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_drawn_and_texts_are_not_markup() {
        let slack = |text: &str| inline(text, Dialect::Slack).into_string();
        for (text, wanted) in [
            ("*bold* and _it_ ~no~", "<b>bold</b> and <i>it</i> <s>no</s>"),
            ("2 * 3 * 4, snake_case_name", "2 * 3 * 4, snake_case_name"),
            ("*a _b_*", "<b>a <i>b</i></b>"),
            ("`*x*` &lt;b&gt;", "<code>*x*</code> &lt;b&gt;"),
            ("<script>", "&lt;script&gt;"),
            ("<!here> <#C1|ops>", "<span class=\"mention\">@here</span> <span class=\"mention\">#ops</span>"),
            ("<javascript:alert(1)|x>", "x"),
            (":rocket: :nope:", "🚀 :nope:"),
        ] {
            assert_eq!(slack(text), wanted, "{text}");
        }
        assert!(slack("<https://a.b/?x=1&amp;y|go>").contains("href=\"https://a.b/?x=1&amp;y\""));
        let markdown = |text: &str| inline(text, Dialect::Markdown).into_string();
        assert_eq!(markdown("**b** *i* <x>"), "<b>b</b> <i>i</i> &lt;x&gt;");
        assert!(markdown("[w](https://a.b)").contains(">w</a>"));
        let deep = "*_".repeat(50_000);
        assert!(!slack(&deep).is_empty());
    }
}
