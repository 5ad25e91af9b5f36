//! An error in a source text, shown the way compilers do.

/// How much of a line is shown before and after the place.
const BEFORE: usize = 90;
const AFTER: usize = 60;

/// `headline`, the source line with a caret below its `column` (from 1), and what might help. A line that is too long
/// to read is cut on both sides.
pub fn show(headline: &str, line: u32, column: u32, source_line: &str, help: Option<&str>) -> String {
    let at = column.saturating_sub(1) as usize;
    let (skipped, mark) = if at > BEFORE + 20 { (at - BEFORE, "…") } else { (0, "") };
    let mut shown: String = source_line.chars().skip(skipped).take(at - skipped + AFTER).collect();
    if source_line.chars().nth(at + AFTER).is_some() {
        shown.push('…');
    }
    // Tabs stay tabs, so that the caret stands right whatever their width is. The mark takes one place.
    let blank = |c| if c == '\t' { '\t' } else { ' ' };
    let indent: String = mark.chars().chain(shown.chars().take(at - skipped)).map(blank).collect();
    let gutter = " ".repeat(line.to_string().len());
    let mut text = format!("{headline}\n{gutter} |\n{line} | {mark}{shown}\n{gutter} | {indent}^");
    if let Some(help) = help {
        text.push_str(&format!("\n{gutter} = help: {help}"));
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_place() {
        assert_eq!(show("e", 12, 3, "\té(x", None), "e\n   |\n12 | \té(x\n   | \t ^\n");
        assert_eq!(show("e", 1, 1, "", Some("h")), "e\n  |\n1 | \n  | ^\n  = help: h\n");
    }

    #[test]
    fn long_lines_are_cut() {
        let line = format!("{}X{}", "a".repeat(500), "b".repeat(500));
        let text = show("e", 1, 501, &line, None);
        let lines: Vec<&str> = text.lines().collect();
        let place = lines[3].chars().position(|c| c == '^');
        assert_eq!(place, lines[2].chars().position(|c| c == 'X'));
        assert!(lines[2].chars().count() < 170 && lines[2].ends_with("b…") && lines[2].contains("| …a"));
    }
}
