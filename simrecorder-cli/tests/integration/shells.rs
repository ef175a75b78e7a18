//! `completions` and `man`.

use crate::support::{Places, names_beside, stdout};

#[test]
fn completions_name_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&["completions", shell]);
        for command in ["copy", "verify", "rewind"] {
            assert!(script.contains(command), "{shell}");
        }
    }
}

#[test]
fn there_is_a_manual_page_for_each_command() {
    let page = stdout(&["man"]);
    assert!(page.contains(".TH simrec 1"), "{page}");
    let places = Places::new();
    stdout(&["man", "--to", &places.path("man/man1")]);
    let names = names_beside(&places.path("man/man1/simrec.1"));
    for name in ["simrec.1", "simrec-copy.1", "simrec-diff.1"] {
        assert!(names.contains(&name.to_owned()), "{names:?}");
    }
}

#[test]
fn the_help_of_each_command_has_examples() {
    for command in [
        "attr",
        "completions",
        "copy",
        "diff",
        "drain",
        "finish",
        "man",
        "mv",
        "recover",
        "rewind",
        "rm",
        "set",
        "verify",
    ] {
        let help = stdout(&[command, "--help"]);
        assert!(
            help.contains(&format!("Examples:\n  simrec {command} ")),
            "{help}"
        );
    }
}
