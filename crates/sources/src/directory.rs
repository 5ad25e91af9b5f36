//! A directory of manifests, looked at again and again. Saving a file is an update of its objects.
//!
//! Files are compared by content, so touching one changes nothing. A file that can't be read keeps the objects it had:
//! it may be half written. A directory that vanishes is taken for an accident, not for the deletion of everything in it.

use std::{
    collections::{BTreeMap, HashSet, hash_map::DefaultHasher},
    fs,
    hash::{Hash, Hasher},
    io::Read,
    path::{Path, PathBuf},
    time::SystemTime,
};

use herald_core::yaml;
use herald_value::Value;

use crate::{Change, ObjectKey, Problem};

/// Larger files are refused: Kubernetes itself takes no object of that size.
pub const LARGEST_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// How the uid of an object begins whose manifest has none.
pub const MADE_UP_UID: &str = "directory:";

/// How deep directories may nest.
const DEEPEST: usize = 32;

/// The kinds that matter; others may lie in the directory too.
pub const KINDS: &[&str] = &[
    "Rollout",
    "AnalysisRun",
    "Experiment",
    "ReplicaSet",
    "ConfigMap",
    "Secret",
    "Deployment",
    "PodTemplate",
    "Event",
];

/// What a look at the directory showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan {
    /// What changed since the last look.
    pub changes: Vec<Change>,
    /// What is wrong and was not told before.
    pub problems: Vec<Problem>,
}

#[derive(Default)]
struct FileState {
    stamp: Option<(SystemTime, u64)>,
    content: Option<u64>,
    /// Whether the last look found nothing in it where there was something.
    emptied: bool,
    objects: Vec<(ObjectKey, Value)>,
    /// What is wrong with it, and whether that was told.
    broken: Option<(String, bool)>,
    /// It was not there at the last look. Some editors move a file away before they write it anew.
    missing: bool,
}

/// A directory of manifests.
pub struct Directory {
    root: PathBuf,
    patient: bool,
    files: BTreeMap<PathBuf, FileState>,
    objects: BTreeMap<ObjectKey, (Value, PathBuf)>,
    told: HashSet<Problem>,
}

impl Directory {
    /// A directory that was not looked at yet.
    pub fn new(root: &Path) -> Directory {
        Directory {
            root: root.to_owned(),
            patient: false,
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            told: HashSet::new(),
        }
    }

    /// From now on a broken file is only told about when two looks in a row found it with the same content: whoever is
    /// writing it gets the time to finish.
    pub fn be_patient(&mut self) {
        self.patient = true;
    }

    /// How many files can't be read.
    pub fn broken_files(&self) -> usize {
        self.files.values().filter(|file| file.broken.is_some()).count()
    }

    /// Looks at the directory.
    pub fn scan(&mut self) -> Scan {
        let mut scan = Scan::default();
        let mut paths = Vec::new();
        if let Err(error) = collect(&self.root, 0, &mut HashSet::new(), &mut paths) {
            let message = format!(
                "the directory can't be read: {error}; what it held stays as it was until the directory is back"
            );
            self.tell(&mut scan, Problem { file: self.root.clone(), message });
            return scan;
        }
        self.told.retain(|problem| problem.file != self.root);
        paths.sort();
        for path in &paths {
            self.read(path);
        }
        let patient = self.patient;
        self.files.retain(|path, file| {
            let there = paths.binary_search(path).is_ok();
            let keep = there || patient && !file.missing;
            file.missing = !there;
            keep
        });
        self.compare(&mut scan);
        self.told.retain(|problem| self.files.contains_key(&problem.file) || problem.file == self.root);
        scan
    }

    fn tell(&mut self, scan: &mut Scan, problem: Problem) {
        if self.told.insert(problem.clone()) {
            scan.problems.push(problem);
        }
    }

    /// Reads a file if it is not as it was.
    fn read(&mut self, path: &Path) {
        let state = self.files.entry(path.to_owned()).or_default();
        let stamp = fs::metadata(path).ok().and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        if stamp.is_some() && stamp == state.stamp {
            return;
        }
        let content = match load(path) {
            Ok(content) => content,
            Err(message) => {
                state.stamp = stamp;
                state.content = None;
                if state.broken.as_ref().map(|(before, _)| before) != Some(&message) {
                    state.broken = Some((message, false));
                }
                return;
            }
        };
        // Whoever saves a file may empty it first: only a second look takes it for empty.
        let emptied = content.trim().is_empty() && !state.objects.is_empty();
        if emptied && self.patient && !state.emptied {
            state.emptied = true;
            return;
        }
        state.emptied = false;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let hash = hasher.finish();
        state.stamp = stamp;
        if state.content == Some(hash) {
            return;
        }
        state.content = Some(hash);
        match parse(path, &content) {
            Ok(objects) => {
                state.objects = objects;
                state.broken = None;
            }
            Err(message) => state.broken = Some((message, false)),
        }
    }

    /// Finds out what changed, over all files.
    fn compare(&mut self, scan: &mut Scan) {
        let mut now: BTreeMap<ObjectKey, (Value, PathBuf)> = BTreeMap::new();
        let mut problems = Vec::new();
        for (path, state) in &mut self.files {
            for (key, object) in &state.objects {
                match now.get(key) {
                    Some((_, first)) => problems.push(Problem {
                        file: path.clone(),
                        message: format!(
                            "{key} is already in {}; this one is not used, remove one of them",
                            first.display()
                        ),
                    }),
                    None => {
                        now.insert(key.clone(), (object.clone(), path.clone()));
                    }
                }
            }
            match &mut state.broken {
                Some((message, seen)) if *seen || !self.patient => {
                    problems.push(Problem { file: path.clone(), message: message.clone() });
                }
                Some((_, seen)) => *seen = true,
                None => {}
            }
        }
        // A problem that is gone may come again, and is told again then.
        self.told.retain(|told| problems.contains(told) || told.file == self.root);
        for problem in problems {
            self.tell(scan, problem);
        }
        for key in self.objects.keys().filter(|key| !now.contains_key(key)) {
            scan.changes.push(Change::Delete { key: key.clone() });
        }
        for (key, (object, path)) in &now {
            if self.objects.get(key).is_none_or(|(before, _)| before != object) {
                let (key, object) = (key.clone(), object.clone());
                scan.changes.push(Change::Upsert { key, object, file: Some(path.clone()) });
            }
        }
        self.objects = now;
    }
}

/// All manifest files below a directory. Hidden ones are left out, as in mounted ConfigMaps.
fn collect(
    dir: &Path,
    depth: usize,
    seen: &mut HashSet<PathBuf>,
    found: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    if depth > DEEPEST || !seen.insert(fs::canonicalize(dir)?) {
        return Ok(());
    }
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        // A dangling link, or a file that is just being replaced, is looked at next time.
        let Ok(meta) = fs::metadata(&path) else { continue };
        if meta.is_dir() {
            // One unreadable folder doesn't hide the others.
            let _ = collect(&path, depth + 1, seen, found);
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("yaml" | "yml" | "json")) {
            found.push(path);
        }
    }
    Ok(())
}

/// The objects of one file, as if it were a directory of its own.
pub fn file(path: &Path) -> Result<Vec<Change>, Problem> {
    let found = load(path).and_then(|text| parse(path, &text));
    let objects = found.map_err(|message| Problem { file: path.to_owned(), message })?;
    let file = Some(path.to_owned());
    Ok(objects.into_iter().map(|(key, object)| Change::Upsert { key, object, file: file.clone() }).collect())
}

/// The objects in a document (one, or those of a list), with what a cluster would have added.
pub fn objects(document: &Value) -> Result<Vec<(ObjectKey, Value)>, String> {
    object(document)
}

/// The text of a file, or why there is none.
fn load(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|e| format!("can't be opened: {e}"))?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|e| format!("can't be read: {e}"))?;
    if bytes.len() as u64 > LARGEST_FILE_BYTES {
        let most = LARGEST_FILE_BYTES / (1024 * 1024);
        return Err(format!("is larger than {most} MiB, and no manifest is; split it, or move it elsewhere"));
    }
    String::from_utf8(bytes).map_err(|e| {
        format!(
            "is no text: byte {} is not UTF-8; move it elsewhere, or rename it",
            e.utf8_error().valid_up_to()
        )
    })
}

/// The objects of a file that matter.
fn parse(path: &Path, text: &str) -> Result<Vec<(ObjectKey, Value)>, String> {
    let documents = if path.extension().is_some_and(|e| e == "json") {
        vec![Value::from_json(text.as_bytes()).map_err(|e| format!("is no valid JSON: {e}"))?]
    } else {
        let nodes = yaml::parse_all(text).map_err(|e| {
            format!("line {}, column {}: is no valid YAML: {}", e.at.line, e.at.column, e.message)
        })?;
        nodes.iter().map(yaml::Node::to_value).collect()
    };
    let mut objects = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        objects.extend(object(document).map_err(|e| format!("document {}: {e}", index + 1))?);
    }
    Ok(objects)
}

/// The objects in a document: one, or those of a list.
fn object(document: &Value) -> Result<Vec<(ObjectKey, Value)>, String> {
    if document.is_nil() {
        return Ok(Vec::new());
    }
    let Some(kind) = document.get("kind").and_then(Value::as_str) else {
        return Err("has no `kind`, so it is no Kubernetes object".into());
    };
    if kind.ends_with("List")
        && let Some(items) = document.get("items").and_then(Value::as_list)
    {
        let nested = items.iter().map(object).collect::<Result<Vec<_>, _>>()?;
        return Ok(nested.into_iter().flatten().collect());
    }
    if !KINDS.contains(&kind) {
        return Ok(Vec::new());
    }
    let text = |name: &str| document.path(&["metadata", name]).and_then(Value::as_str);
    let Some(name) = text("name").filter(|name| !name.is_empty()) else {
        return Err(format!("a {kind} without `metadata.name`"));
    };
    let namespace = text("namespace").filter(|namespace| !namespace.is_empty()).unwrap_or("default");
    let key = ObjectKey { kind: kind.into(), namespace: namespace.into(), name: name.into() };
    let object = complete(document, &key);
    Ok(vec![(key, object)])
}

/// Adds what a cluster would have added and the rest relies on: a namespace, and an identity that stays.
fn complete(document: &Value, key: &ObjectKey) -> Value {
    let (Some(all), Some(metadata)) = (document.as_map(), document.get("metadata").and_then(Value::as_map))
    else {
        return document.clone();
    };
    let mut metadata = metadata.clone();
    let uid = format!("{MADE_UP_UID}{}/{}/{}", key.kind, key.namespace, key.name);
    for (name, value) in [("namespace", key.namespace.as_str()), ("uid", &uid)] {
        if metadata.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
            match metadata.with(name.into(), Value::str(value)) {
                Ok(with) => metadata = with,
                Err(_) => return document.clone(),
            }
        }
    }
    let metadata = Value::Map(metadata.into());
    all.with("metadata".into(), metadata).map_or_else(|_| document.clone(), |all| Value::Map(all.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLOUT: &str = "kind: Rollout\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 1}\n";

    fn scene() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::new(dir.path());
        (dir, directory)
    }

    fn keys(scan: &Scan) -> Vec<String> {
        let name = |change: &Change| match change {
            Change::Upsert { key, .. } => format!("+{key}"),
            Change::Delete { key } => format!("-{key}"),
        };
        scan.changes.iter().map(name).collect()
    }

    /// Writes so that the stamp differs, whatever the clock of the file system.
    fn write(dir: &tempfile::TempDir, name: &str, text: &str, age: u64) {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 + age);
        fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn saving_updates_touching_does_not_and_removing_deletes() {
        let (dir, mut directory) = scene();
        write(&dir, "a.yaml", &format!("{ROLLOUT}---\nkind: Service\nmetadata: {{name: x}}\n"), 0);
        assert_eq!(keys(&directory.scan()), ["+Rollout shop/web"]);
        write(&dir, "a.yaml", &format!("{ROLLOUT}---\nkind: Service\nmetadata: {{name: x}}\n"), 1);
        assert_eq!(directory.scan(), Scan::default());
        write(&dir, "a.yaml", &ROLLOUT.replace("replicas: 1", "replicas: 2"), 2);
        assert_eq!(keys(&directory.scan()), ["+Rollout shop/web"]);
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        assert_eq!(keys(&directory.scan()), ["-Rollout shop/web"]);
    }

    #[test]
    fn a_half_written_file_keeps_what_it_had() {
        let (dir, mut directory) = scene();
        directory.be_patient();
        write(&dir, "a.yaml", ROLLOUT, 0);
        directory.scan();
        write(&dir, "a.yaml", "kind: Rollout\nmetadata: {name: we", 1);
        assert_eq!(directory.scan(), Scan::default());
        let second = directory.scan();
        assert!(second.changes.is_empty());
        assert!(second.problems[0].message.contains("no valid YAML"), "{:?}", second.problems);
        assert_eq!(directory.scan(), Scan::default());
        write(&dir, "a.yaml", ROLLOUT, 2);
        assert_eq!(directory.scan(), Scan::default());
        assert_eq!(directory.broken_files(), 0);
    }

    #[test]
    fn a_file_that_is_empty_for_a_moment_keeps_what_it_had() {
        let (dir, mut directory) = scene();
        directory.be_patient();
        write(&dir, "a.yaml", ROLLOUT, 0);
        directory.scan();
        write(&dir, "a.yaml", "", 1);
        assert_eq!(directory.scan(), Scan::default());
        write(&dir, "a.yaml", ROLLOUT, 2);
        assert_eq!(directory.scan(), Scan::default());
        write(&dir, "a.yaml", "", 3);
        assert_eq!(directory.scan(), Scan::default());
        let mut keys_seen = Vec::new();
        for _ in 0..3 {
            keys_seen.extend(keys(&directory.scan()));
        }
        assert_eq!(keys_seen, ["-Rollout shop/web"]);
    }

    #[test]
    fn what_is_no_manifest_is_told_once_and_the_rest_goes_on() {
        let (dir, mut directory) = scene();
        write(&dir, "good.yaml", ROLLOUT, 0);
        write(&dir, "twice.yaml", ROLLOUT, 0);
        fs::write(dir.path().join("binary.yaml"), [0xff, 0xfe, 0]).unwrap();
        fs::write(dir.path().join("huge.yaml"), vec![b'#'; LARGEST_FILE_BYTES as usize + 1]).unwrap();
        write(&dir, "nameless.yaml", "kind: Rollout\nmetadata: {}\n", 0);
        write(&dir, "broken.json", "{", 0);
        let scan = directory.scan();
        assert_eq!(keys(&scan), ["+Rollout shop/web"]);
        let told: Vec<_> = scan
            .problems
            .iter()
            .map(|p| format!("{} {}", p.file.file_name().unwrap().to_string_lossy(), p.message))
            .collect();
        for (file, words) in [
            ("binary.yaml", "is no text"),
            ("huge.yaml", "larger than 8 MiB"),
            ("nameless.yaml", "without `metadata.name`"),
            ("broken.json", "no valid JSON"),
            ("twice.yaml", "is already in"),
        ] {
            assert_eq!(
                told.iter().filter(|t| t.starts_with(file) && t.contains(words)).count(),
                1,
                "{file}: {told:?}"
            );
        }
        assert_eq!(directory.scan(), Scan::default());
    }

    #[test]
    fn a_vanished_directory_deletes_nothing() {
        let (dir, mut directory) = scene();
        write(&dir, "a.yaml", ROLLOUT, 0);
        directory.scan();
        let elsewhere = dir.path().with_extension("moved");
        fs::rename(dir.path(), &elsewhere).unwrap();
        let scan = directory.scan();
        assert!(scan.changes.is_empty());
        assert!(scan.problems[0].message.contains("can't be read"));
        assert_eq!(directory.scan(), Scan::default());
        fs::rename(&elsewhere, dir.path()).unwrap();
        assert_eq!(directory.scan(), Scan::default());
    }

    #[test]
    fn a_file_that_is_just_being_replaced_was_not_deleted() {
        let (dir, mut directory) = scene();
        directory.be_patient();
        write(&dir, "a.yaml", ROLLOUT, 0);
        directory.scan();
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        assert_eq!(directory.scan(), Scan::default());
        write(&dir, "a.yaml", ROLLOUT, 1);
        assert_eq!(directory.scan(), Scan::default());
        fs::remove_file(dir.path().join("a.yaml")).unwrap();
        assert_eq!(directory.scan(), Scan::default());
        assert_eq!(keys(&directory.scan()), ["-Rollout shop/web"]);
    }

    #[test]
    fn links_in_a_circle_end() {
        let (dir, mut directory) = scene();
        write(&dir, "a.yaml", ROLLOUT, 0);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
        assert_eq!(keys(&directory.scan()), ["+Rollout shop/web"]);
    }
}
