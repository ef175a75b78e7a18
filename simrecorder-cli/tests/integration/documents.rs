//! The examples of docs/cli.md print what the document shows.

use std::path::Path;
use std::process::Command;

use simrecorder::Recorder;

use crate::support::{Places, create, record_run, simrec};

/// The commands of the document, each with what it prints.
fn examples(document: &str) -> Vec<(String, String)> {
    let mut examples: Vec<(String, String)> = Vec::new();
    let mut is_console = false;
    for line in document.lines() {
        match (line.strip_prefix("$ "), is_console) {
            _ if line.starts_with("```") => is_console = line == "```console",
            (Some(command), true) => examples.push((command.to_owned(), String::new())),
            (None, true) => {
                let (_, output) = examples.last_mut().unwrap();
                output.push_str(line);
                output.push('\n');
            }
            (_, false) => {}
        }
    }
    examples
}

/// Whether a line is what the document shows, where `[..]` stands for any text.
fn is_shown(line: &str, shown: &str) -> bool {
    let mut parts = shown.split("[..]");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(found) => rest = &rest[found + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn the_examples_of_the_document_print_what_it_shows() {
    let places = Places::new();
    let recorder = Recorder::new(create(&places.path("run.mdb")));
    record_run(&recorder);
    recorder.close().unwrap();

    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let document = std::fs::read_to_string(document).unwrap();
    let program = simrec(&[]).get_program().to_owned();
    let folder = Path::new(&program).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let examples = examples(&document);
    assert!(examples.len() > 10, "the document has examples");
    let mut differing = String::new();
    for (command, shown) in examples {
        let output = Command::new("sh")
            .args(["-c", &format!("{command} 2>&1")])
            .current_dir(places.path(""))
            .env("PATH", format!("{}:{path}", folder.display()))
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let are_shown = printed.lines().count() == shown.lines().count()
            && printed
                .lines()
                .zip(shown.lines())
                .all(|(line, shown)| is_shown(line, shown));
        if !are_shown {
            differing.push_str(&format!("$ {command}\n{printed}"));
        }
    }
    assert!(
        differing.is_empty(),
        "the document shows something else than:\n{differing}"
    );
}
