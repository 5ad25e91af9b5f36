//! What was measured, as text, JSON, Markdown and a plot.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{goals, plot};
use crate::root;

/// Where the page's figures stand.
const MARKS: (&str, &str) =
    ("<!-- figures: written by `cargo xtask bench report --write` -->", "<!-- end of the figures -->");

/// Figures of one run, in the order in which they are shown.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Figures(Vec<(String, f64)>);

impl Figures {
    /// Adds one. What could not be measured, such as the latency of what never arrived, is left out: JSON has no word
    /// for it.
    pub(crate) fn put(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.push((name.to_owned(), value));
        }
    }

    /// One by its name.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, value)| *value)
    }
}

/// One scene with one program, once.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Run {
    /// The scene.
    pub(crate) scene: String,
    /// How many Rollouts; 0 where that says nothing.
    pub(crate) size: usize,
    /// Who was measured.
    pub(crate) who: String,
    /// What was measured.
    pub(crate) figures: Figures,
}

/// Everything of one call.
#[derive(Default, Deserialize, Serialize)]
pub(crate) struct Report {
    /// What it was measured on.
    pub(crate) machine: String,
    /// When, in UTC.
    pub(crate) at: String,
    /// Herald's version control revision.
    pub(crate) revision: String,
    /// All runs.
    pub(crate) runs: Vec<Run>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// The report of an earlier call.
    pub(crate) fn read(dir: &Path) -> Result<Report> {
        let path = dir.join("report.json");
        let text =
            fs::read(&path).with_context(|| format!("{}: run `cargo xtask bench` first", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Writes `report.json`, `report.txt` and `report.svg`.
    pub(crate) fn write(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("report.json"), serde_json::to_string_pretty(self)? + "\n")?;
        fs::write(dir.join("report.txt"), self.text())?;
        fs::write(dir.join("report.svg"), plot::draw(self))?;
        Ok(())
    }

    /// The middle of a figure's values; `None` if it was never measured.
    pub(crate) fn median(&self, scene: &str, size: usize, who: &str, figure: &str) -> Option<f64> {
        let mut values: Vec<f64> = self
            .runs
            .iter()
            .filter(|run| run.scene == scene && run.size == size && run.who == who)
            .filter_map(|run| run.figures.get(figure))
            .collect();
        values.sort_unstable_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    /// The scenes with their sizes, as they were played.
    pub(crate) fn scenes(&self) -> Vec<(&str, usize)> {
        let mut scenes = Vec::new();
        for run in &self.runs {
            let scene = (run.scene.as_str(), run.size);
            if !scenes.contains(&scene) {
                scenes.push(scene);
            }
        }
        scenes
    }

    /// Who played a scene, and how often each did.
    pub(crate) fn players(&self, scene: &str, size: usize) -> Vec<(&str, usize)> {
        let mut players: Vec<(&str, usize)> = Vec::new();
        for run in self.runs.iter().filter(|run| run.scene == scene && run.size == size) {
            match players.iter_mut().find(|(who, _)| *who == run.who) {
                Some((_, count)) => *count += 1,
                None => players.push((&run.who, 1)),
            }
        }
        players
    }

    fn names(&self, scene: &str, size: usize) -> Vec<&str> {
        let mut names = Vec::new();
        for run in self.runs.iter().filter(|run| run.scene == scene && run.size == size) {
            for (name, _) in &run.figures.0 {
                if !names.contains(&name.as_str()) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// A table for each scene, and the goals, in Markdown that reads well as it is.
    pub(crate) fn text(&self) -> String {
        let mut out = format!("{}; {}; revision {}.\n", self.machine, self.at, self.revision);
        let players = self.scenes().into_iter().flat_map(|(scene, size)| self.players(scene, size));
        let runs = players.map(|(_, count)| count).max();
        let _ = writeln!(out, "Each figure is the median of up to {} runs.\n", runs.unwrap_or(0));
        out += &goals::table(self);
        for (scene, size) in self.scenes() {
            let players = self.players(scene, size);
            let title = if size > 0 { format!("{scene}, {}", thousands(size)) } else { scene.to_owned() };
            let mut rows = vec![vec![title]];
            for (who, count) in &players {
                let times = if *count > 1 { format!(" ({count} runs)") } else { String::new() };
                rows[0].push(format!("{who}{times}"));
            }
            for name in self.names(scene, size) {
                let mut row = vec![name.to_owned()];
                for (who, _) in &players {
                    row.push(self.median(scene, size, who, name).map_or_else(|| "–".to_owned(), number));
                }
                rows.push(row);
            }
            out += "\n";
            out += &table(&rows);
        }
        for failure in &self.failures {
            let _ = write!(out, "\nNot measured: {failure}\n");
        }
        out
    }

    /// Puts the figures into `docs/performance.md`, and the plot beside it.
    pub(crate) fn publish(&self) -> Result<()> {
        let path = root().join("docs/performance.md");
        let page = fs::read_to_string(&path)?;
        let marks =
            page.split_once(MARKS.0).and_then(|(before, rest)| Some((before, rest.split_once(MARKS.1)?.1)));
        let (before, after) =
            marks.with_context(|| format!("{} has no marks for the figures", path.display()))?;
        let text = format!("{before}{}\n\n{}\n{}{after}", MARKS.0, self.text(), MARKS.1);
        fs::write(&path, text)?;
        fs::write(root().join("docs/performance.svg"), plot::draw(self))?;
        Ok(())
    }
}

/// A Markdown table with even columns.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column {
                0 => write!(out, "| {cell:width$} "),
                _ => write!(out, "| {cell:>width$} "),
            };
        }
        out += "|\n";
        if index == 0 {
            for (column, width) in widths.iter().enumerate() {
                let line = "-".repeat(width + 1);
                let _ = if column == 0 { write!(out, "|{line}-") } else { write!(out, "|{line}:") };
            }
            out += "|\n";
        }
    }
    out
}

/// A number with as many digits as say something.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    match value.abs() {
        x if x >= 1000.0 => thousands(value.round() as usize),
        x if x >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        x if x >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
