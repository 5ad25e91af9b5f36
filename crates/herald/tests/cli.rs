//! Commands as data: `testdata/cli/<name>.cmd` holds the arguments, `.out` what is printed, `.err` words that
//! standard error must hold (one a line), `.code` the exit code if it isn't 0, `.in` the standard input.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn commands_print_what_they_should() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/cli");
    let mut commands: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "cmd"))
        .collect();
    commands.sort();
    assert!(commands.len() >= 10, "the cases are missing");
    let mut wrong = Vec::new();
    for path in &commands {
        let read = |ext: &str| std::fs::read_to_string(path.with_extension(ext)).ok();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        // One argument a line.
        let text = read("cmd").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_herald"))
            .args(text.lines())
            .current_dir(&dir)
            .env_remove("RUST_LOG")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = read("in").unwrap_or_default();
        // A command that doesn't read may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let code: i32 = read("code").map_or(0, |text| text.trim().parse().unwrap());
        if output.status.code() != Some(code) {
            wrong.push(format!("{name}: exit code {:?}, not {code}\n{said}", output.status.code()));
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        if let Some(wanted) = read("out")
            && wanted != printed
        {
            wrong.push(format!("{name}: printed\n{printed}\nand not\n{wanted}"));
        }
        for words in read("err").unwrap_or_default().lines() {
            if !said.contains(words) {
                wrong.push(format!("{name}: {words:?} is not in\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
