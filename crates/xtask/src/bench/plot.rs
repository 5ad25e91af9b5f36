//! The report as a picture: bars side by side, no more.

use std::fmt::Write as _;

use super::report::{Report, number};

/// What is drawn: scene, its size, figure, title.
const PANELS: [(&str, usize, &str, &str); 8] = [
    ("storm", 10_000, "deliveries/s", "Storm of 10,000: deliveries a second (more is better)"),
    ("storm", 1_000, "deliveries/s", "Storm of 1,000: deliveries a second (more is better)"),
    ("storm", 10_000, "CPU seconds", "Storm of 10,000: seconds of CPU"),
    ("storm", 10_000, "connections", "Storm of 10,000: connections to the receiver"),
    ("steady", 2_000, "p99 ms", "200 changes a second: p99 in ms"),
    ("idle", 10_000, "MiB", "10,000 Rollouts at rest: MiB"),
    ("idle", 50_000, "MiB", "50,000 Rollouts at rest: MiB"),
    ("start", 100, "ms to the first", "From start to the first delivery: ms"),
];

const WIDTH: f64 = 720.0;
const LABEL: f64 = 170.0;
const BAR: f64 = 18.0;

/// Draws it.
pub(crate) fn draw(report: &Report) -> String {
    let (mut body, mut y) = (String::new(), 10.0);
    for (scene, size, figure, title) in PANELS {
        let bars: Vec<(&str, f64)> = report
            .players(scene, size)
            .into_iter()
            .filter_map(|(who, _)| Some((who, report.median(scene, size, who, figure)?)))
            .collect();
        let most = bars.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        if most <= 0.0 {
            continue;
        }
        y += 22.0;
        let _ = writeln!(body, r#"<text x="10" y="{y:.0}" font-weight="bold">{title}</text>"#);
        y += 8.0;
        for (who, value) in bars {
            let length = (value / most * (WIDTH - LABEL - 90.0)).max(1.0);
            let colour = if who.starts_with("herald") { "#2f6fdf" } else { "#9a9a9a" };
            let (text, end) = (y + BAR - 4.0, LABEL + length + 6.0);
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{text:.0}" text-anchor="end">{who}</text><rect x="{LABEL}" y="{y:.0}" width="{length:.1}" height="{:.0}" fill="{colour}"/><text x="{end:.0}" y="{text:.0}">{}</text>"#,
                LABEL - 8.0,
                BAR - 3.0,
                number(value),
            );
            y += BAR;
        }
    }
    let height = y + 16.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" font-family="sans-serif" font-size="12" role="img" aria-label="Herald beside the reference's engine">
<rect width="100%" height="100%" fill="#ffffff"/>
{body}</svg>
"##
    )
}
