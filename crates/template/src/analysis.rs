//! What a template reads, found without running it.
//!
//! ```
//! use herald_template::{Template, analysis::Step};
//! use herald_value::limits::Limits;
//!
//! let template = Template::parse("", "{{ range .list }}{{ .name }}{{ end }}", Limits::DEFAULT)?;
//! let last = template.accesses().pop().unwrap();
//! let words: Vec<_> = last.steps.iter().map(|(step, ..)| step.to_string()).collect();
//! assert_eq!(words, ["list", "[]", "name"]);
//! # Ok::<(), herald_template::TemplateError>(())
//! ```

use std::fmt;

use crate::{
    Template,
    ast::{Command, Kind, Node, Operand, Pipe, Pos, Program, VarId},
    builtin::Builtin,
};

/// One step of a path from the variables to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// Any element of a list, or any value of a map.
    Item,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Key(key) => f.write_str(key),
            Step::Item => f.write_str("[]"),
        }
    }
}

/// A value that a template reads: the path to it from the variables. Each step comes with its line and column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The steps, the first one a variable.
    pub steps: Vec<(Step, u32, u32)>,
    /// Whether nothing but its being there is asked: it is what an `if` or `with` tests, or `default` guards it.
    pub tested: bool,
}

/// What is known of a value.
#[derive(Clone)]
enum Known {
    Path(Vec<(Step, Pos)>),
    Nothing,
}

/// Templates that call each other are followed this deep.
const DEEPEST: u32 = 8;
/// More accesses than this help nobody.
const MOST: usize = 20_000;

struct Walk<'p> {
    program: &'p Program,
    variables: Vec<(VarId, Known)>,
    found: Vec<(Vec<(Step, Pos)>, bool)>,
    depth: u32,
    nesting: u32,
    steps: usize,
}

impl Template {
    /// Every path that the template reads, in the order of the source. Paths that depend on values are left out from
    /// there on.
    pub fn accesses(&self) -> Vec<Access> {
        let program = &*self.program;
        let mut walk =
            Walk { program, variables: Vec::new(), found: Vec::new(), depth: 0, nesting: 0, steps: 0 };
        walk.definition(program.main, Known::Path(Vec::new()));
        let lines = Lines::new(&program.source);
        let place = |(step, pos): (Step, Pos)| {
            let (line, column) = lines.place(&program.source, pos as usize);
            (step, line, column)
        };
        let access = |(steps, tested): (Vec<_>, bool)| Access {
            steps: steps.into_iter().map(place).collect(),
            tested,
        };
        walk.found.into_iter().map(access).collect()
    }
}

/// The byte offsets at which lines begin.
struct Lines(Vec<usize>);

impl Lines {
    fn new(source: &str) -> Lines {
        Lines(std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect())
    }

    fn place(&self, source: &str, at: usize) -> (u32, u32) {
        let line = self.0.partition_point(|start| *start <= at).max(1);
        let start = self.0.get(line - 1).copied().unwrap_or(0);
        let column = source.get(start..at).map_or(0, |before| before.chars().count());
        (line as u32, column as u32 + 1)
    }
}

impl Walk<'_> {
    fn definition(&mut self, index: usize, dot: Known) {
        let Some(definition) = self.program.templates.get(index) else { return };
        if self.depth >= DEEPEST {
            return;
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.variables, vec![(0, dot.clone())]);
        self.list(&definition.body, &dot);
        self.variables = outer;
        self.depth -= 1;
    }

    fn list(&mut self, nodes: &[Node], dot: &Known) {
        if self.nesting > 200 {
            return;
        }
        self.nesting += 1;
        let scope = self.variables.len();
        for node in nodes {
            self.steps += 1;
            if self.steps > 10 * MOST || self.found.len() > MOST {
                break;
            }
            self.node(node, dot);
        }
        self.variables.truncate(scope);
        self.nesting -= 1;
    }

    fn node(&mut self, node: &Node, dot: &Known) {
        match node {
            Node::Action(pipe) => drop(self.pipe(pipe, dot, false)),
            Node::If(branch) | Node::With(branch) => {
                let scope = self.variables.len();
                for (pipe, body) in &branch.arms {
                    let value = self.pipe(pipe, dot, true);
                    let inner = if matches!(node, Node::With(_)) { &value } else { dot };
                    self.list(body, inner);
                }
                self.list(&branch.otherwise, dot);
                self.variables.truncate(scope);
            }
            Node::Range(range) => {
                let scope = self.variables.len();
                let over = self.pipe_value(&range.pipe, dot, true);
                let item = match over {
                    Known::Path(mut path) => {
                        path.push((Step::Item, range.pipe.pos));
                        Known::Path(path)
                    }
                    Known::Nothing => Known::Nothing,
                };
                match &*range.pipe.variables {
                    [one] => self.variables.push((*one, item.clone())),
                    [key, value] => {
                        self.variables.push((*key, Known::Nothing));
                        self.variables.push((*value, item.clone()));
                    }
                    _ => {}
                }
                self.list(&range.body, &item);
                self.list(&range.otherwise, dot);
                self.variables.truncate(scope);
            }
            Node::Template(invocation) => {
                let value = match &invocation.pipe {
                    Some(pipe) => self.pipe(pipe, dot, false),
                    None => Known::Nothing,
                };
                if let Some(target) = invocation.target {
                    self.definition(target, value);
                }
            }
            Node::Text(..) | Node::Break | Node::Continue => {}
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Known, tested: bool) -> Known {
        let value = self.pipe_value(pipe, dot, tested);
        if let [variable] = &*pipe.variables {
            if pipe.assign {
                // It may be this or what it was before.
                if let Some(known) = self.variables.iter_mut().rev().find(|(id, _)| id == variable) {
                    known.1 = Known::Nothing;
                }
            } else {
                self.variables.push((*variable, value.clone()));
            }
        }
        value
    }

    fn pipe_value(&mut self, pipe: &Pipe, dot: &Known, tested: bool) -> Known {
        self.nesting += 1;
        let mut value = Known::Nothing;
        if self.nesting < 200 {
            let guarded = pipe.commands.iter().skip(1).any(guards);
            for (index, command) in pipe.commands.iter().enumerate() {
                value = self.command(command, dot, index > 0, tested || guarded);
            }
        }
        self.nesting -= 1;
        value
    }

    fn command(&mut self, command: &Command, dot: &Known, piped: bool, tested: bool) -> Known {
        let tested = tested || guards(command);
        let first = self.operand(&command.first, dot, tested);
        let args: Vec<Known> = command.args.iter().map(|arg| self.operand(arg, dot, tested)).collect();
        let index = matches!(command.first.kind, Kind::Builtin(Builtin::Index)) && !piped;
        let element = match &command.first.kind {
            Kind::Function(function) => matches!(function.name, "first" | "last"),
            _ => false,
        };
        match (first, args.split_first()) {
            (_, Some((Known::Path(path), _))) if index => {
                let mut path = path.clone();
                for key in command.args.iter().skip(1) {
                    let step = match &key.kind {
                        Kind::Str(text) => match text.as_str() {
                            Some(text) => Step::Key(text.to_owned()),
                            None => return Known::Nothing,
                        },
                        _ => Step::Item,
                    };
                    path.push((step, key.pos));
                }
                self.read(path, tested)
            }
            (_, Some((Known::Path(path), []))) if element => {
                let mut path = path.clone();
                path.push((Step::Item, command.first.pos));
                Known::Path(path)
            }
            (value, None) if !piped => value,
            _ => Known::Nothing,
        }
    }

    fn read(&mut self, path: Vec<(Step, Pos)>, tested: bool) -> Known {
        self.found.push((path.clone(), tested));
        Known::Path(path)
    }

    fn operand(&mut self, operand: &Operand, dot: &Known, tested: bool) -> Known {
        match &operand.kind {
            Kind::Dot => dot.clone(),
            Kind::Field(fields) => {
                let names = fields.iter().map(|f| f.text.to_str_lossy().into_owned()).collect();
                self.fields(dot.clone(), operand.pos as usize, names, tested)
            }
            Kind::Variable(id, fields) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == id);
                let base = known.map_or(Known::Nothing, |(_, value)| value.clone());
                if fields.is_empty() {
                    return base;
                }
                let name = self.program.variables.get(*id as usize).map_or(0, |name| name.len());
                let names = fields.iter().map(|f| f.text.to_str_lossy().into_owned()).collect();
                self.fields(base, operand.pos as usize + name, names, tested)
            }
            Kind::Chain(inner, fields) => {
                let base = self.operand(inner, dot, tested);
                let names: Vec<String> = fields.iter().map(|f| f.text.to_str_lossy().into_owned()).collect();
                let length: usize = names.iter().map(|name| name.len() + 1).sum();
                self.fields(base, (operand.end as usize).saturating_sub(length), names, tested)
            }
            Kind::Pipe(pipe) => self.pipe(pipe, dot, tested),
            Kind::Nil
            | Kind::Bool(_)
            | Kind::Number(_)
            | Kind::Str(_)
            | Kind::Builtin(_)
            | Kind::Function(_) => Known::Nothing,
        }
    }

    /// Fields that begin, with their dots, at a place of the source.
    fn fields(&mut self, base: Known, mut at: usize, names: Vec<String>, tested: bool) -> Known {
        let Known::Path(mut path) = base else { return Known::Nothing };
        for name in names {
            let length = name.len();
            path.push((Step::Key(name), at as Pos + 1));
            at += length + 1;
        }
        self.read(path, tested)
    }
}

/// Whether a command takes care of values that are not there.
fn guards(command: &Command) -> bool {
    match &command.first.kind {
        Kind::Function(function) => {
            matches!(
                function.name,
                "default" | "coalesce" | "empty" | "hasKey" | "dig" | "ternary" | "required"
            )
        }
        Kind::Builtin(builtin) => matches!(builtin, Builtin::And | Builtin::Or | Builtin::Not),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use herald_value::limits::Limits;

    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let template = Template::parse("", source, Limits::DEFAULT).unwrap();
        let text = |access: &Access| {
            let steps: Vec<String> = access.steps.iter().map(|(step, ..)| step.to_string()).collect();
            let at = access.steps.last().map(|(_, line, column)| format!("{line}:{column}"));
            format!("{}@{}", steps.join("."), at.unwrap_or_default())
        };
        template.accesses().iter().map(text).collect()
    }

    #[test]
    fn paths_are_followed() {
        assert_eq!(paths("{{.a.b}}"), ["a.b@1:6"]);
        assert_eq!(paths("x\n{{ with .a }}{{ .b }}{{ $.c }}{{ end }}"), ["a@2:10", "a.b@2:18", "c@2:27"]);
        assert_eq!(
            paths("{{range $i, $c := .a.list}}{{$c.name}}{{.image}}{{$i}}{{end}}"),
            ["a.list@1:22", "a.list.[].name@1:33", "a.list.[].image@1:42"]
        );
        assert_eq!(paths("{{$x := .a}}{{$x.b | upper}}"), ["a@1:10", "a.b@1:18"]);
        assert_eq!(paths(r#"{{(index .a "k" 0).z}}"#), ["a@1:11", "a.k.[]@1:17", "a.k.[].z@1:20"]);
        assert_eq!(paths("{{define \"t\"}}{{.x}}{{end}}{{template \"t\" .a}}"), ["a@1:44", "a.x@1:18"]);
        assert_eq!(paths("{{ (dict \"a\" 1).b }}{{ fromJson .c }}"), ["c@1:34"]);
    }

    #[test]
    fn templates_that_call_themselves_end() {
        assert!(!paths("{{define \"t\"}}{{template \"t\" .x}}{{end}}{{template \"t\" .}}").is_empty());
    }
}
