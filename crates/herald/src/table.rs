//! Tables as Go's `tabwriter` prints them with minimal width 5 and padding 2.

const MIN_WIDTH: usize = 5;
const PADDING: usize = 2;

/// Lines of cells, each cell but the last of a line ended by a tab, as an aligned text.
pub(crate) fn align(text: &str) -> String {
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines: Vec<Vec<&str>> = body.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut out = String::new();
    block(&lines, &mut Vec::new(), &mut out);
    out
}

/// A column is as wide as its widest cell among neighbouring lines that have it.
fn block(lines: &[Vec<&str>], widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has = |line: &Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while !rest.is_empty() {
        let plain = rest.iter().take_while(|line| !has(line)).count();
        let (before, from) = rest.split_at(plain);
        write(before, widths, out);
        let (columns, after) = from.split_at(from.iter().take_while(|line| has(line)).count());
        rest = after;
        if columns.is_empty() {
            continue;
        }
        let widest =
            columns.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
        widths.push(MIN_WIDTH.max(widest.unwrap_or(0) + PADDING));
        block(columns, widths, out);
        widths.pop();
    }
}

fn write(lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligns_as_go_does() {
        let table = [
            ("NAME\tPREVIEW\na\thello\n", "NAME  PREVIEW\na     hello\n"),
            ("A\tB\tC\n\tx\ty\n", "A    B    C\n     x    y\n"),
            ("é\tb\nabcdef\tc\n", "é       b\nabcdef  c\n"),
            // A line without a cell in the column ends the column.
            ("a\tb\nplain\nlonger-one\tc\n", "a    b\nplain\nlonger-one  c\n"),
        ];
        for (text, wanted) in table {
            assert_eq!(align(text), wanted, "{text:?}");
        }
    }
}
