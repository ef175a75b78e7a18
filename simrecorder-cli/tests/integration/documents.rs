//! The examples in docs/cli.md print what the document shows.

use std::path::Path;
use std::process::Command;

use simrecorder::Recorder;

use crate::support::{Places, create, record_run, simrec};

/// The code blocks of a Markdown document: their languages and texts.
pub(crate) fn blocks(document: &str) -> Vec<(&str, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block = lines.by_ref().take_while(|line| *line != "```");
            blocks.push((language, block.map(|line| format!("{line}\n")).collect()));
        }
    }
    blocks
}

/// The commands of a block, each with its output.
fn commands(block: &str) -> Vec<(&str, String)> {
    let mut commands: Vec<(&str, String)> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command, String::new()));
        } else {
            let (_, output) = commands.last_mut().unwrap();
            output.push_str(line);
            output.push('\n');
        }
    }
    commands
}

/// Runs the commands of a block in a folder. Returns their number, and those whose output differs
/// from the document, with their output.
pub(crate) fn run_commands(
    block: &str,
    folder: &str,
    variables: &[(&str, &str)],
) -> (usize, String) {
    let program = simrec(&[]).get_program().to_owned();
    let programs = Path::new(&program).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let commands = commands(block);
    let mut differing = String::new();
    for (command, shown) in &commands {
        let output = Command::new("sh")
            .args(["-c", &format!("{command} 2>&1")])
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", programs.display()))
            .envs(variables.iter().copied())
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
    (commands.len(), differing)
}

/// The text of a document of the repository.
pub(crate) fn document(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Whether a line matches the document, in which `[..]` matches any text.
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

    let (mut count, mut differing) = (0, String::new());
    for (language, block) in blocks(&document("cli.md")) {
        if language == "console" {
            let (in_block, differing_in_block) = run_commands(&block, &places.path(""), &[]);
            count += in_block;
            differing.push_str(&differing_in_block);
        }
    }
    assert!(count > 10, "the document has examples");
    assert!(
        differing.is_empty(),
        "the document shows something else than:\n{differing}"
    );
}
