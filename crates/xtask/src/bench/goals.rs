//! What was promised, beside what was measured.

use super::report::{Report, number, table as markdown};

/// A goal: what was measured, as a number and in words, and whether that is enough.
struct Goal {
    scene: &'static str,
    goal: &'static str,
    measured: Option<(f64, String)>,
    enough: fn(f64) -> bool,
}

/// The table of goals, met or missed.
pub(crate) fn table(report: &Report) -> String {
    let mut rows = vec![["goal of", "goal", "measured", ""].map(str::to_owned).to_vec()];
    for goal in goals(report) {
        let (measured, verdict) = match goal.measured {
            Some((value, text)) if !value.is_nan() => {
                (text, if (goal.enough)(value) { "met" } else { "missed" })
            }
            _ => ("–".to_owned(), "not measured"),
        };
        rows.push(vec![goal.scene.to_owned(), goal.goal.to_owned(), measured, verdict.to_owned()]);
    }
    markdown(&rows)
}

fn goals(report: &Report) -> Vec<Goal> {
    let get = |scene: &str, size: usize, who: &str, figure: &str| report.median(scene, size, who, figure);
    // Herald's figure divided by another.
    let ratio = |scene: &str, size: usize, figure: &str, what: &str| {
        let (ours, theirs) = (get(scene, size, "herald", figure)?, get(scene, size, "peer", figure)?);
        let times = ours / theirs;
        Some((times, format!("{times:.2} times ({} to {} {what})", number(ours), number(theirs))))
    };
    let own = |scene: &str, size: usize, figure: &str, unit: &str| {
        get(scene, size, "herald", figure).map(|value| (value, format!("{} {unit}", number(value))))
    };
    let floor = |figure: &str| {
        let rate = get("storm", 10_000, "herald", "deliveries/s")?;
        let part = rate / get("floor", 10_000, "bare client", figure)? * 100.0;
        Some((part, format!("{} %", number(part))))
    };
    let growth = || {
        let at = |size| get("idle", size, "herald", "MiB");
        let bytes = (at(50_000)? - at(1_000)?) * 1024.0 * 1024.0 / 49_000.0;
        Some((bytes, format!("{} bytes", number(bytes))))
    };
    let linear = || {
        let at = |size| get("storm", size, "herald", "seconds to the last");
        let times = at(10_000)? / at(1_000)?;
        Some((times, format!("{times:.1} times the time for 10 times the Rollouts")))
    };
    let healthy = || {
        let (beside, alone) =
            (get("sick receivers", 200, "herald", "p99 ms")?, get("healthy alone", 200, "herald", "p99 ms")?);
        Some((
            beside / alone,
            format!("{:.2} times ({} to {} ms)", beside / alone, number(beside), number(alone)),
        ))
    };
    let goal = |scene, goal, measured, enough| Goal { scene, goal, measured, enough };
    vec![
        goal(
            "storm, 10,000",
            "at least 5 times the peer's deliveries a second",
            ratio("storm", 10_000, "deliveries/s", "a second"),
            |x| x >= 5.0,
        ),
        goal("storm, 10,000", "at least 60 % of the bare client", floor("deliveries/s"), |x| x >= 60.0),
        goal(
            "storm, 10,000",
            "the same, where the bare client lists the Rollouts first",
            floor("deliveries/s with the list"),
            |x| x >= 60.0,
        ),
        goal(
            "storm, 10,000",
            "at most a fifth of the peer's CPU",
            ratio("storm", 10_000, "CPU seconds", "s"),
            |x| x <= 0.2,
        ),
        goal("steady", "p99 at most a fifth of the peer's", ratio("steady", 2_000, "p99 ms", "ms"), |x| {
            x <= 0.2
        }),
        goal("steady", "p50 under 5 ms", own("steady", 2_000, "p50 ms", "ms"), |x| x < 5.0),
        goal(
            "idle, 10,000",
            "at most a tenth of the peer's memory",
            ratio("idle", 10_000, "MiB", "MiB"),
            |x| x <= 0.1,
        ),
        goal("idle, 10,000", "under 1 % of a core", own("idle", 10_000, "CPU %", "%"), |x| x < 1.0),
        goal("growth", "under 200 bytes a Rollout from 1,000 to 50,000", growth(), |x| x < 200.0),
        goal("growth", "storm time grows linearly", linear(), |x| x <= 11.0),
        goal("sick receivers", "0 lost", own("sick receivers", 200, "lost", "lost"), |x| x == 0.0),
        goal("sick receivers", "the healthy one's p99 within 1.2 times of alone", healthy(), |x| x <= 1.2),
        goal(
            "start",
            "first delivery under 300 ms with 100 Rollouts",
            own("start", 100, "ms to the first", "ms"),
            |x| x < 300.0,
        ),
        goal("binary", "under 25 MB", own("binary", 0, "MB", "MB"), |x| x < 25.0),
        goal("binary", "under 15 MB of memory at rest", own("at rest", 1, "MiB", "MiB"), |x| {
            x * 1.048_576 < 15.0
        }),
    ]
}
