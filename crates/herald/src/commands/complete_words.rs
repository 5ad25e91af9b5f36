//! `herald complete-words`: what kubectl asks `kubectl_complete-herald` for.
//!
//! kubectl (1.26 and newer) passes the words so far, the last one unfinished, and reads candidates a line each, then
//! `:` with a number: 4 asks the shell for no file names, 0 leaves them.

use clap::{Arg, Args, Command, CommandFactory as _};

use crate::{cli::Cli, failure::Outcome, output};

const FILES: u8 = 0;
const NO_FILES: u8 = 4;

/// Arguments of `complete-words`.
#[derive(Args, Debug)]
pub(crate) struct CompleteWordsArgs {
    /// The words after `herald`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(crate) fn run(args: &CompleteWordsArgs) -> Outcome {
    let mut command = Cli::command();
    command.build();
    let (candidates, directive) = complete(&command, &args.words);
    let lines: String = candidates.iter().map(|line| format!("{line}\n")).collect();
    output::print(&format!("{lines}:{directive}\n"))
}

fn complete(root: &Command, words: &[String]) -> (Vec<String>, u8) {
    let (unfinished, done) = words.split_last().map_or(("", &[][..]), |(last, done)| (last.as_str(), done));
    let mut command = root;
    for word in done {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let asked = done.last().and_then(|word| option(command, word));
    if let Some(option) = asked.filter(|option| option.get_action().takes_values()) {
        let values = option.get_possible_values();
        let names =
            values.iter().map(|value| line(value.get_name(), value.get_help().map(ToString::to_string)));
        let names: Vec<String> = names.filter(|name| name.starts_with(unfinished)).collect();
        let directive = if names.is_empty() { FILES } else { NO_FILES };
        return (names, directive);
    }
    if unfinished.starts_with('-') {
        let options = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let named = options.filter_map(|arg| {
            let name = format!("--{}", arg.get_long()?);
            name.starts_with(unfinished).then(|| line(&name, arg.get_help().map(ToString::to_string)))
        });
        return (named.collect(), NO_FILES);
    }
    let commands = command.get_subcommands().filter(|c| !c.is_hide_set());
    let named = commands.filter(|c| c.get_name().starts_with(unfinished));
    let names: Vec<String> =
        named.map(|c| line(c.get_name(), c.get_about().map(ToString::to_string))).collect();
    let directive = if command.has_subcommands() { NO_FILES } else { FILES };
    (names, directive)
}

fn option<'a>(command: &'a Command, word: &str) -> Option<&'a Arg> {
    let mut options = command.get_arguments();
    match word.strip_prefix("--") {
        Some(long) => options.find(|arg| arg.get_long() == Some(long)),
        None => {
            let mut letters = word.strip_prefix('-')?.chars();
            let (letter, None) = (letters.next()?, letters.next()) else { return None };
            options.find(|arg| arg.get_short() == Some(letter))
        }
    }
}

fn line(name: &str, help: Option<String>) -> String {
    match help.as_deref().and_then(|help| help.lines().next()) {
        Some(help) => format!("{name}\t{help}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> (Vec<String>, u8) {
        let mut command = Cli::command();
        command.build();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (lines, directive) = complete(&command, &words);
        let first = |line: String| line.split('\t').next().unwrap_or_default().to_owned();
        (lines.into_iter().map(first).collect(), directive)
    }

    #[test]
    fn commands_and_options_are_offered_and_files_where_one_is_wanted() {
        assert_eq!(names(&["deliveri"]), (vec!["deliveries".into()], NO_FILES));
        assert_eq!(names(&["template", "n"]), (vec!["notify".into()], NO_FILES));
        assert_eq!(names(&["run", "--once", "--notify-e"]), (vec!["--notify-existing".into()], NO_FILES));
        assert_eq!(names(&["--logformat", ""]), (vec!["text".into(), "json".into()], NO_FILES));
        assert_eq!(names(&["run", "--config-map", "x"]), (vec![], FILES));
        assert_eq!(names(&["run", "exam"]), (vec![], FILES));
        assert!(!names(&[""]).0.contains(&"complete-words".to_owned()));
    }
}
