//! `simrec server`: runs a server.

use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use simrecorder::{Error, RedisServer};

use crate::exit::{Exit, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// The interval between two checks whether the program should end.
const PAUSE: Duration = Duration::from_millis(50);

const EXAMPLES: &str = "\
    Examples:
  simrec server data                     prints the URL, and runs until Ctrl-C
  simrec server data --port 6379 --bind 0.0.0.0 --password-file secret

The data stays in the folder: a server that is started on it again has all recordings.";

/// Run a Redis server on a data directory, in the foreground
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the server's data, created if it does not exist
    directory: PathBuf,

    /// Port to listen on [default: a free one]
    #[arg(long)]
    port: Option<u16>,

    /// Address to listen on; one that other hosts reach needs a password [default: 127.0.0.1]
    #[arg(long)]
    bind: Option<IpAddr>,

    /// File whose first line is the password that clients have to give
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// Listen on a Unix socket, too
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let interrupt = Interrupt::watch()?;
    let mut options = RedisServer::options();
    if let Some(port) = args.port {
        options = options.port(port);
    }
    if let Some(address) = args.bind {
        options = options.bind(address);
    }
    if let Some(path) = &args.password_file {
        let text = fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
        let password = text.lines().next().unwrap_or_default();
        options = options.password(password);
    }
    if let Some(path) = &args.socket {
        options = options.unix_socket(path);
    }
    let mut server = options.start(&args.directory)?;
    writeln!(output, "{}", server.url())?;
    if let Some(url) = server.socket_url() {
        writeln!(output, "{url}")?;
    }
    output.flush()?;
    while !interrupt.is_requested() {
        if !server.is_running()? {
            // If it ended with an error, this reports why.
            server.stop()?;
            let directory = args.directory.display();
            let message =
                format!("server '{directory}': it was ended by another program; start it again");
            return Err(Failure::Refused(message));
        }
        thread::sleep(PAUSE);
    }
    server.stop()?;
    Ok(Exit::Success)
}
