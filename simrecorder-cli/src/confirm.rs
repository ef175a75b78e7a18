//! Asking for confirmation before data is lost.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit::{Failure, Result};

/// Whether the user agrees to do `what`, such as "remove 'net'". If `yes` is set, the user has
/// already agreed.
///
/// # Errors
///
/// If standard input is not a terminal.
pub(crate) fn confirm(what: &str, yes: bool) -> Result<bool> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        let message = "standard input is not a terminal, so nobody can confirm; pass --yes";
        return Err(Failure::Refused(format!("{what}: {message}")));
    }
    let answer = ask(what).map_err(|error| Failure::Refused(format!("{what}: {error}")))?;
    Ok(matches!(&*answer.trim().to_ascii_lowercase(), "y" | "yes"))
}

fn ask(what: &str) -> io::Result<String> {
    let mut stderr = io::stderr();
    write!(stderr, "{what}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer)
}
