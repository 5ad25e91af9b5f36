//! Tokens to the compiled form.

use std::collections::HashMap;

use herald_value::{Value, limits::Limits, num};

use crate::{
    ast::{
        Branch, Command, Definition, Invocation, Kind, Name, Node, Operand, Pipe, Pos, Program, Range, VarId,
    },
    constant,
    functions::{self, Callee},
    lex::{Item, Keyword, LexError, Lexer, Token},
};

type Result<T> = std::result::Result<T, LexError>;

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    End,
    Else,
    Eof,
}

struct Parser<'s> {
    source: &'s str,
    lexer: Lexer<'s>,
    /// Tokens that were read and put back, the next one last.
    ahead: Vec<Item>,
    names: HashMap<&'s str, VarId>,
    variables: Vec<Box<str>>,
    scope: Vec<VarId>,
    ranges: u32,
    nesting: u32,
    most_nesting: u32,
    templates: Vec<Definition>,
    /// By name, their places in `templates`.
    places: HashMap<Box<str>, usize>,
}

/// Compiles a source text.
pub(crate) fn parse(name: &str, source: &str, limits: &Limits) -> Result<Program> {
    let mut parser = Parser {
        source,
        lexer: Lexer::new(source),
        ahead: Vec::new(),
        names: HashMap::new(),
        variables: Vec::new(),
        scope: Vec::new(),
        ranges: 0,
        nesting: 0,
        most_nesting: limits.depth.min(crate::exec::MOST_DEPTH),
        templates: Vec::new(),
        places: HashMap::new(),
    };
    let dollar = parser.variable("$");
    parser.scope.push(dollar);
    let (body, _) = parser.list(true)?;
    parser.define(name, body, 0)?;
    let (mut templates, places) = (parser.templates, parser.places);
    for template in &mut templates {
        link(&mut template.body, &places);
    }
    Ok(Program {
        name: name.into(),
        source: source.into(),
        main: places.get(name).copied().unwrap_or(0),
        templates,
        variables: parser.variables,
    })
}

/// Resolves the names of invoked templates; the nesting of the source bounds the recursion.
fn link(nodes: &mut [Node], places: &HashMap<Box<str>, usize>) {
    for node in nodes {
        match node {
            Node::Template(call) => call.target = places.get(&call.name).copied(),
            Node::If(branch) | Node::With(branch) => {
                for (_, body) in &mut branch.arms {
                    link(body, places);
                }
                link(&mut branch.otherwise, places);
            }
            Node::Range(range) => {
                link(&mut range.body, places);
                link(&mut range.otherwise, places);
            }
            _ => {}
        }
    }
}

impl<'s> Parser<'s> {
    fn text(&self, item: Item) -> &'s str {
        self.source.get(item.start as usize..item.end as usize).unwrap_or("")
    }

    fn next(&mut self) -> Result<Item> {
        match self.ahead.pop() {
            Some(item) => Ok(item),
            None => self.lexer.next(),
        }
    }

    fn back(&mut self, item: Item) {
        self.ahead.push(item);
    }

    fn peek(&mut self) -> Result<Item> {
        let item = self.next()?;
        self.back(item);
        Ok(item)
    }

    fn next_solid(&mut self) -> Result<Item> {
        loop {
            let item = self.next()?;
            if item.token != Token::Space {
                return Ok(item);
            }
        }
    }

    fn peek_solid(&mut self) -> Result<Item> {
        let item = self.next_solid()?;
        self.back(item);
        Ok(item)
    }

    fn unexpected<T>(&self, item: Item, place: &str) -> Result<T> {
        let what = match item.token {
            Token::Eof => "end of the template".into(),
            Token::Right => "}}".into(),
            _ => format!("{:?}", shortened(self.text(item))),
        };
        Err((item.start, format!("unexpected {what} in {place}")))
    }

    fn deeper(&mut self, pos: Pos) -> Result<()> {
        self.nesting += 1;
        if self.nesting > self.most_nesting {
            return Err((pos, format!("the template nests deeper than {} levels", self.most_nesting)));
        }
        Ok(())
    }

    fn variable(&mut self, name: &'s str) -> VarId {
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        let id = self.variables.len() as VarId;
        self.variables.push(name.into());
        self.names.insert(name, id);
        id
    }

    fn define(&mut self, name: &str, body: Vec<Node>, pos: Pos) -> Result<()> {
        match self.places.get(name).copied() {
            None => {
                self.places.insert(name.into(), self.templates.len());
                self.templates.push(Definition { name: name.into(), body });
            }
            Some(at) => {
                let old_is_empty = self.templates.get(at).is_none_or(|old| self.is_blank(&old.body));
                if old_is_empty {
                    if let Some(old) = self.templates.get_mut(at) {
                        old.body = body;
                    }
                } else if !self.is_blank(&body) {
                    return Err((pos, format!("the template {name:?} is defined twice")));
                }
            }
        }
        Ok(())
    }

    fn is_blank(&self, body: &[Node]) -> bool {
        body.iter().all(|node| match node {
            Node::Text(start, end) => {
                self.source.get(*start as usize..*end as usize).is_none_or(|text| text.trim().is_empty())
            }
            _ => false,
        })
    }

    /// Nodes up to `{{end}}`, `{{else}}`, or at the top the end of the source.
    fn list(&mut self, top: bool) -> Result<(Vec<Node>, Ending)> {
        let mut nodes = Vec::new();
        loop {
            let item = self.next_solid()?;
            match item.token {
                Token::Eof if top => return Ok((nodes, Ending::Eof)),
                Token::Eof => {
                    return Err((item.start, "unexpected end of the template: an {{end}} is missing".into()));
                }
                Token::Text => nodes.push(Node::Text(item.start, item.end)),
                Token::Left => {
                    let first = self.peek_solid()?;
                    match first.token {
                        Token::Keyword(Keyword::Define) if top => {
                            self.next_solid()?;
                            self.definition()?;
                        }
                        Token::Keyword(Keyword::End | Keyword::Else) if top => {
                            let word = self.text(first);
                            return Err((item.start, format!("unexpected {{{{{word}}}}}")));
                        }
                        Token::Keyword(Keyword::End) => {
                            self.next_solid()?;
                            self.right("end")?;
                            return Ok((nodes, Ending::End));
                        }
                        Token::Keyword(Keyword::Else) => {
                            self.next_solid()?;
                            let after = self.peek_solid()?;
                            if !matches!(after.token, Token::Keyword(Keyword::If | Keyword::With)) {
                                self.right("else")?;
                            }
                            return Ok((nodes, Ending::Else));
                        }
                        _ => nodes.push(self.action(item)?),
                    }
                }
                _ => return self.unexpected(item, "input"),
            }
        }
    }

    fn right(&mut self, context: &str) -> Result<()> {
        let item = self.next_solid()?;
        if item.token == Token::Right { Ok(()) } else { self.unexpected(item, context) }
    }

    fn definition(&mut self) -> Result<()> {
        let item = self.next_solid()?;
        let name = self.template_name(item, "define clause")?;
        self.right("define clause")?;
        let body = self.separate(item.start)?;
        self.define(&name, body, item.start)
    }

    /// The body of a `define` or `block`, which sees no variables from outside.
    fn separate(&mut self, pos: Pos) -> Result<Vec<Node>> {
        self.deeper(pos)?;
        let dollar = self.variable("$");
        let scope = std::mem::replace(&mut self.scope, vec![dollar]);
        let ranges = std::mem::take(&mut self.ranges);
        let (body, ending) = self.list(false)?;
        if ending != Ending::End {
            return Err((pos, "unexpected {{else}} in a template definition".into()));
        }
        self.scope = scope;
        self.ranges = ranges;
        self.nesting -= 1;
        Ok(body)
    }

    fn template_name(&mut self, item: Item, context: &str) -> Result<String> {
        match item.token {
            Token::Str | Token::RawStr => {
                let name =
                    num::unquote(self.text(item)).ok_or((item.start, "invalid quoted text".to_owned()))?;
                Ok(String::from_utf8_lossy(&name).into_owned())
            }
            _ => self.unexpected(item, context),
        }
    }

    fn action(&mut self, left: Item) -> Result<Node> {
        let item = self.next_solid()?;
        let Token::Keyword(keyword) = item.token else {
            self.back(item);
            return Ok(Node::Action(self.pipeline("command", Token::Right)?));
        };
        match keyword {
            Keyword::If => self.branch("if", left.start).map(|b| Node::If(Box::new(b))),
            Keyword::With => self.branch("with", left.start).map(|b| Node::With(Box::new(b))),
            Keyword::Range => self.range(left.start),
            Keyword::Break | Keyword::Continue => {
                let word = self.text(item);
                let after = self.next_solid()?;
                if after.token != Token::Right {
                    return self.unexpected(after, &format!("{{{{{word}}}}}"));
                }
                if self.ranges == 0 {
                    return Err((item.start, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                Ok(if keyword == Keyword::Break { Node::Break } else { Node::Continue })
            }
            Keyword::Template => {
                let name = self.next_solid()?;
                let template = self.template_name(name, "template clause")?;
                let after = self.next_solid()?;
                let pipe = if after.token == Token::Right {
                    None
                } else {
                    self.back(after);
                    Some(self.pipeline("template clause", Token::Right)?)
                };
                Ok(Node::Template(Box::new(Invocation {
                    pos: name.start,
                    name: template.into(),
                    target: None,
                    pipe,
                })))
            }
            Keyword::Block => {
                let name = self.next_solid()?;
                let template = self.template_name(name, "block clause")?;
                let pipe = self.pipeline("block clause", Token::Right)?;
                let body = self.separate(name.start)?;
                self.define(&template, body, name.start)?;
                let pipe = Some(pipe);
                Ok(Node::Template(Box::new(Invocation {
                    pos: name.start,
                    name: template.into(),
                    target: None,
                    pipe,
                })))
            }
            Keyword::Define => {
                Err((item.start, "a {{define}} must stand outside of every other block".into()))
            }
            Keyword::End | Keyword::Else => self.unexpected(item, "command"),
        }
    }

    /// `else if` chains are flat, so that a long chain is no deep nesting.
    fn branch(&mut self, context: &str, pos: Pos) -> Result<Branch> {
        self.deeper(pos)?;
        let outer = self.scope.len();
        let mut branch = Branch { arms: Vec::with_capacity(1), otherwise: Vec::new() };
        loop {
            let pipe = self.pipeline(context, Token::Right)?;
            let (body, ending) = self.list(false)?;
            branch.arms.push((pipe, body));
            if ending == Ending::End {
                break;
            }
            let item = self.peek()?;
            let again = match item.token {
                Token::Keyword(Keyword::If) => context == "if",
                Token::Keyword(Keyword::With) => context == "with",
                _ => false,
            };
            if again {
                self.next()?;
                continue;
            }
            let (otherwise, ending) = self.list(false)?;
            if ending != Ending::End {
                return Err((
                    pos,
                    format!("expected {{{{end}}}} for this {context}; found a second {{{{else}}}}"),
                ));
            }
            branch.otherwise = otherwise;
            break;
        }
        self.scope.truncate(outer);
        self.nesting -= 1;
        Ok(branch)
    }

    fn range(&mut self, pos: Pos) -> Result<Node> {
        self.deeper(pos)?;
        let outer = self.scope.len();
        let pipe = self.pipeline("range", Token::Right)?;
        self.ranges += 1;
        let (body, mut ending) = self.list(false)?;
        self.ranges -= 1;
        let mut otherwise = Vec::new();
        if ending == Ending::Else {
            (otherwise, ending) = self.list(false)?;
        }
        if ending != Ending::End {
            return Err((pos, "expected {{end}} for this range; found a second {{else}}".into()));
        }
        self.scope.truncate(outer);
        self.nesting -= 1;
        Ok(Node::Range(Box::new(Range { pipe, body, otherwise })))
    }

    fn pipeline(&mut self, context: &str, end: Token) -> Result<Pipe> {
        let first = self.peek_solid()?;
        self.deeper(first.start)?;
        let (assign, variables) = self.declarations(context)?;
        let mut commands: Vec<Command> = Vec::with_capacity(1);
        loop {
            let item = self.next_solid()?;
            if item.token == end {
                break;
            }
            match item.token {
                Token::Bool
                | Token::CharConstant
                | Token::Complex
                | Token::Dot
                | Token::Field
                | Token::Identifier
                | Token::Number
                | Token::Nil
                | Token::RawStr
                | Token::Str
                | Token::Variable
                | Token::LeftParen => {
                    self.back(item);
                    let command = self.command()?;
                    let executable = !matches!(
                        command.first.kind,
                        Kind::Bool(_) | Kind::Dot | Kind::Nil | Kind::Number(_) | Kind::Str(_)
                    );
                    if !commands.is_empty() && !executable {
                        return Err((
                            command.first.pos,
                            format!(
                                "stage {} of the pipeline is no function, field or variable",
                                commands.len() + 1
                            ),
                        ));
                    }
                    commands.push(command);
                }
                _ => return self.unexpected(item, context),
            }
        }
        if commands.is_empty() {
            return Err((first.start, format!("missing value for {context}")));
        }
        self.nesting -= 1;
        Ok(Pipe { pos: first.start, assign, variables: variables.into(), commands: commands.into() })
    }

    /// `$x :=`, `$x =`, or in a range `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Result<(bool, Vec<VarId>)> {
        let mut found = Vec::new();
        loop {
            let variable = self.peek_solid()?;
            if variable.token != Token::Variable {
                return Ok((false, found));
            }
            self.next_solid()?;
            let after = self.peek()?;
            let next = self.peek_solid()?;
            let id = self.variable(self.text(variable));
            match next.token {
                Token::Assign | Token::Declare => {
                    self.next_solid()?;
                    found.push(id);
                    self.scope.push(id);
                    return Ok((next.token == Token::Assign, found));
                }
                Token::Char if self.text(next) == "," => {
                    self.next_solid()?;
                    found.push(id);
                    self.scope.push(id);
                    if context != "range" || found.len() > 1 {
                        return Err((next.start, format!("too many declarations in {context}")));
                    }
                    let second = self.peek_solid()?;
                    if !matches!(second.token, Token::Variable | Token::Right | Token::RightParen) {
                        return Err((second.start, "range can only initialize variables".into()));
                    }
                }
                _ => {
                    // Looking past the blank has dropped it, but it separates the variable from an argument.
                    if after.token == Token::Space {
                        self.back(after);
                    }
                    self.back(variable);
                    return Ok((false, found));
                }
            }
        }
    }

    fn command(&mut self) -> Result<Command> {
        let mut operands = Vec::with_capacity(2);
        let start = self.peek_solid()?;
        loop {
            self.peek_solid()?;
            if let Some(operand) = self.operand()? {
                operands.push(operand);
            }
            let item = self.next()?;
            match item.token {
                Token::Space => continue,
                Token::Right | Token::RightParen => self.back(item),
                Token::Pipe => {}
                _ => return self.unexpected(item, "operand"),
            }
            break;
        }
        let mut operands = operands.into_iter();
        match operands.next() {
            Some(first) => Ok(Command { first, args: operands.collect() }),
            None => Err((start.start, "empty command".into())),
        }
    }

    fn operand(&mut self) -> Result<Option<Operand>> {
        let Some(mut operand) = self.term()? else { return Ok(None) };
        let mut item = self.next()?;
        if item.token != Token::Field {
            self.back(item);
            return Ok(Some(operand));
        }
        let mut fields: Vec<Name> = Vec::new();
        while item.token == Token::Field {
            fields.push(Name::new(self.text(item)));
            operand.end = item.end;
            item = self.next()?;
        }
        self.back(item);
        operand.kind = match operand.kind {
            Kind::Field(first) => {
                let mut all = first.into_vec();
                all.append(&mut fields);
                Kind::Field(all.into())
            }
            Kind::Variable(id, _) => Kind::Variable(id, fields.into()),
            Kind::Bool(_) | Kind::Str(_) | Kind::Number(_) | Kind::Nil | Kind::Dot => {
                let text = self.source.get(operand.pos as usize..operand.end as usize).unwrap_or("");
                return Err((operand.pos, format!("unexpected . after a constant in {text:?}")));
            }
            kind => {
                Kind::Chain(Box::new(Operand { pos: operand.pos, end: operand.end, kind }), fields.into())
            }
        };
        Ok(Some(operand))
    }

    fn term(&mut self) -> Result<Option<Operand>> {
        let item = self.next_solid()?;
        let text = self.text(item);
        let mut end = item.end;
        let kind = match item.token {
            Token::Identifier => match functions::find(text) {
                Some(Callee::Builtin(builtin)) => Kind::Builtin(builtin),
                Some(Callee::Function(function)) => Kind::Function(function),
                None => return Err((item.start, functions::unknown(text))),
            },
            Token::Dot => Kind::Dot,
            Token::Nil => Kind::Nil,
            Token::Variable => {
                let id = self.variable(text);
                if !self.scope.contains(&id) {
                    return Err((item.start, format!("undefined variable {text:?}")));
                }
                Kind::Variable(id, Box::new([]))
            }
            Token::Field => Kind::Field(Box::new([Name::new(text)])),
            Token::Bool => Kind::Bool(Value::Bool(text == "true")),
            Token::CharConstant | Token::Complex | Token::Number => {
                let number = constant::number(text, item.token).map_err(|message| (item.start, message))?;
                Kind::Number(Box::new(number))
            }
            Token::LeftParen => {
                let pipe = self.pipeline("parenthesized pipeline", Token::RightParen)?;
                end = self.lexer_end();
                Kind::Pipe(Box::new(pipe))
            }
            Token::Str | Token::RawStr => {
                let text = num::unquote(text).ok_or((item.start, format!("invalid quoted text {text}")))?;
                Kind::Str(Value::str(text))
            }
            _ => {
                self.back(item);
                return Ok(None);
            }
        };
        Ok(Some(Operand { pos: item.start, end, kind }))
    }

    /// Where the last token ended that was not put back.
    fn lexer_end(&mut self) -> Pos {
        match self.ahead.last() {
            Some(item) => item.start,
            None => self.lexer.position(),
        }
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 20 {
        text.into()
    } else {
        text.chars().take(17).chain("...".chars()).collect()
    }
}
