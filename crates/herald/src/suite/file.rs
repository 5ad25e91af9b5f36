//! The format of test files, read with places, so that every mistake is found.

use std::path::{Path, PathBuf};

use herald_core::yaml::{self, Kind, Node, Position};
use herald_value::{Value, time::parse_duration};
use jiff::{SignedDuration, Timestamp};

/// When tests begin, if they don't say.
const BEGIN: &str = "2026-01-01T00:00:00Z";
/// How long after the step before a step is, if it doesn't say.
const STEP: SignedDuration = SignedDuration::from_secs(60);

/// A test file.
pub(crate) struct TestFile {
    pub(crate) path: PathBuf,
    /// Its text, for changes.
    pub(crate) text: String,
    /// Files with the ConfigMap and the Secret.
    pub(crate) configuration: Vec<PathBuf>,
    /// Values for the Secret.
    pub(crate) secret: Vec<(String, String)>,
    pub(crate) tests: Vec<Test>,
}

/// A test.
pub(crate) struct Test {
    pub(crate) name: String,
    pub(crate) at: Position,
    pub(crate) steps: Vec<Step>,
}

/// A moment, what comes then, and what is expected.
pub(crate) struct Step {
    pub(crate) now: Timestamp,
    pub(crate) silent: bool,
    /// Files with objects.
    pub(crate) files: Vec<PathBuf>,
    /// Objects themselves.
    pub(crate) objects: Vec<Value>,
    /// A merge patch for the Rollout.
    pub(crate) patch: Option<Value>,
    /// The Rollout is deleted.
    pub(crate) delete: bool,
    /// Whether it has to say what is expected: a test of one moment.
    pub(crate) is_all: bool,
    /// `None`: nothing is said.
    pub(crate) expect: Option<Vec<Expected>>,
    /// Where the map stands that holds `expect`, or would.
    pub(crate) holder: Position,
    /// Where the key `expect` stands.
    pub(crate) expect_at: Option<Position>,
}

/// An expected notice.
pub(crate) struct Expected {
    pub(crate) trigger: String,
    pub(crate) to: String,
    /// Field of the notification → what it must be.
    pub(crate) fields: Vec<(String, Node)>,
    pub(crate) at: Position,
}

/// What is wrong with a test file.
pub(crate) struct Mistake {
    pub(crate) message: String,
    pub(crate) at: Position,
}

type Read<T> = Result<T, Mistake>;

fn mistake<T>(at: Position, message: impl Into<String>) -> Read<T> {
    Err(Mistake { message: message.into(), at })
}

/// Refuses keys that are not known.
fn known(node: &Node, keys: &[&str], what: &str) -> Read<()> {
    if !matches!(node.kind, Kind::Map(_)) {
        return mistake(node.at, format!("{what} is a map, and this is {}", node.describe()));
    }
    for (key, at, _) in node.entries() {
        if !keys.contains(&key.as_str()) {
            let near = herald_core::names::nearest(key, keys.iter().copied());
            let near = near.map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| format!("there are {}", keys.join(", ")));
            return mistake(*at, format!("{what} has no `{key}`; {help}"));
        }
    }
    Ok(())
}

fn text(node: &Node, what: &str) -> Read<String> {
    match node.text() {
        Some(text) => Ok(text.to_owned()),
        None => mistake(node.at, format!("{what} is text, and this is {}", node.describe())),
    }
}

/// One text, or a list of them.
fn texts(node: &Node, what: &str) -> Read<Vec<String>> {
    match &node.kind {
        Kind::List(items) => items.iter().map(|item| text(item, what)).collect(),
        _ => Ok(vec![text(node, what)?]),
    }
}

impl TestFile {
    /// Reads a test file.
    pub(crate) fn parse(path: &Path, source: String) -> Read<TestFile> {
        let dir = path.parent().unwrap_or(Path::new("")).to_owned();
        let root = yaml::parse(&source).map_err(|e| Mistake { message: e.message, at: e.at })?;
        known(&root, &["configuration", "secret", "tests"], "a test file")?;
        let configuration = match root.get("configuration") {
            Some(node) => texts(node, "`configuration`")?.iter().map(|file| dir.join(file)).collect(),
            None => Vec::new(),
        };
        let mut secret = Vec::new();
        for (key, _, value) in root.get("secret").map(Node::entries).unwrap_or_default() {
            secret.push((key.clone(), text(value, "a value of `secret`")?));
        }
        let Some(list) = root.get("tests").filter(|list| !list.items().is_empty()) else {
            return mistake(root.at, "there are no tests; write a list `tests:`");
        };
        let tests = list.items().iter().map(|node| test(node, &dir)).collect::<Read<_>>()?;
        Ok(TestFile { path: path.to_owned(), text: source, configuration, secret, tests })
    }
}

const STEP_KEYS: &[&str] = &["at", "rollout", "objects", "patch", "delete", "silent", "expect"];

fn test(node: &Node, dir: &Path) -> Read<Test> {
    let mut keys = vec!["name", "steps"];
    keys.extend(STEP_KEYS);
    known(node, &keys, "a test")?;
    let Some(name) = node.get("name") else { return mistake(node.at, "a test needs a `name`") };
    let name = text(name, "`name`")?;
    let nodes: Vec<&Node> = match node.get("steps") {
        None => vec![node],
        Some(steps) => {
            if let Some((key, at, _)) = node.entries().iter().find(|(key, ..)| STEP_KEYS.contains(&&**key)) {
                return mistake(*at, format!("`{key}` stands beside `steps`; write it into a step"));
            }
            steps.items().iter().collect()
        }
    };
    let mut steps: Vec<Step> = Vec::new();
    for one in nodes {
        if node.get("steps").is_some() {
            known(one, STEP_KEYS, "a step")?;
        }
        let before = steps.last().map(|step| step.now);
        let is_all = node.get("steps").is_none();
        steps.push(Step { is_all, ..step(one, dir, before)? });
    }
    if !steps.iter().any(|step| step.expect.is_some()) && node.get("steps").is_some() {
        return mistake(node.at, format!("the test `{name}` expects nothing: no step has `expect`"));
    }
    Ok(Test { name, at: node.at, steps })
}

fn step(node: &Node, dir: &Path, before: Option<Timestamp>) -> Read<Step> {
    let now = moment(node.get("at"), before)?;
    let mut step = Step {
        now,
        silent: matches!(node.get("silent").map(|node| &node.kind), Some(Kind::Bool(true, _))),
        files: Vec::new(),
        objects: Vec::new(),
        patch: node.get("patch").map(Node::to_value),
        delete: matches!(node.get("delete").map(|node| &node.kind), Some(Kind::Bool(true, _))),
        is_all: false,
        expect: None,
        holder: node.at,
        expect_at: node.entries().iter().find(|(key, ..)| key == "expect").map(|(_, at, _)| *at),
    };
    let given = node.get("rollout").into_iter();
    for one in given.chain(node.get("objects").map(Node::items).unwrap_or_default()) {
        match &one.kind {
            Kind::Map(_) => step.objects.push(complete(one.to_value())),
            _ => step.files.push(dir.join(text(one, "an object, or the file with it,")?)),
        }
    }
    let nothing = step.files.is_empty() && step.objects.is_empty();
    if before.is_none() && nothing {
        return mistake(node.at, "the first step needs a `rollout`: a file, or the object itself");
    }
    if let Some(list) = node.get("expect") {
        if !matches!(list.kind, Kind::List(_)) {
            return mistake(list.at, "`expect` is a list of notices; `[]` means that there are none");
        }
        step.expect = Some(list.items().iter().map(expected).collect::<Read<_>>()?);
    }
    Ok(step)
}

/// An object of which only what matters is written down.
fn complete(object: Value) -> Value {
    let mut object = object;
    let set = |object: &Value, key: &str, value: Value| {
        let map = object.as_map().and_then(|map| map.with(key.into(), value).ok());
        map.map_or_else(|| object.clone(), |map| Value::Map(map.into()))
    };
    if object.get("kind").is_none() {
        object = set(&object, "kind", Value::str("Rollout"));
    }
    let empty = Value::map::<&str>([]).unwrap_or_default();
    let mut metadata = object.get("metadata").filter(|m| m.as_map().is_some()).cloned().unwrap_or(empty);
    if metadata.get("name").is_none() {
        metadata = set(&metadata, "name", Value::str("rollout"));
    }
    set(&object, "metadata", metadata)
}

fn expected(node: &Node) -> Read<Expected> {
    let field = |key: &str| match node.get(key) {
        Some(node) => text(node, &format!("`{key}`")),
        None => mistake(node.at, format!("an expected notice needs a `{key}`")),
    };
    let fields = node.entries().iter().filter(|(key, ..)| key != "trigger" && key != "to");
    Ok(Expected {
        trigger: field("trigger")?,
        to: field("to")?,
        fields: fields.map(|(key, _, node)| (key.clone(), node.clone())).collect(),
        at: node.at,
    })
}

/// A time of its own, or one after the step before.
fn moment(node: Option<&Node>, before: Option<Timestamp>) -> Read<Timestamp> {
    let begin = || BEGIN.parse().unwrap_or(Timestamp::UNIX_EPOCH);
    let Some(node) = node else {
        return Ok(before.map_or_else(begin, |before| before.checked_add(STEP).unwrap_or(before)));
    };
    let written = text(node, "`at`")?;
    let moment = match written.strip_prefix('+') {
        Some(after) => {
            let nanos = parse_duration(after).map_err(|e| Mistake { message: e.to_string(), at: node.at })?;
            before.unwrap_or_else(begin).checked_add(SignedDuration::from_nanos(nanos)).ok()
        }
        None => written.parse().ok(),
    };
    let Some(moment) = moment else {
        return mistake(
            node.at,
            format!(
                "`{written}` is no time; write one like {BEGIN}, or +5m for five minutes after the step before"
            ),
        );
    };
    if before.is_some_and(|before| moment < before) {
        return mistake(node.at, "this step comes before the one before it");
    }
    Ok(moment)
}
