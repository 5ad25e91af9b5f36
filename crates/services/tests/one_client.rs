//! No service builds an HTTP client of its own.

use std::path::Path;

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("http") {
                walk(&path, found);
            }
        } else {
            let text = std::fs::read_to_string(&path).expect("source text");
            if ["reqwest", "hyper::", "hyper_util", "ureq"].iter().any(|word| text.contains(word)) {
                found.push(path.display().to_string());
            }
        }
    }
}

#[test]
fn only_the_http_folder_knows_the_http_library() {
    let mut found = Vec::new();
    walk(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), &mut found);
    assert_eq!(found, Vec::<String>::new());
}
