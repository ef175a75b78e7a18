//! `simrec serve`: a page that shows recordings, even running ones, in a browser.

mod access;
mod api;
mod assets;
mod live;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use simrecorder::{DataStore, Error, ErrorKind};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use self::access::Access;
use crate::exit::{Exit, Result};
use crate::output::Output;

const EXAMPLES: &str = "\
Examples:
  simrec serve run.mdb                       prints an address for a browser on this machine
  simrec serve --open run.mdb other.h5       opens it, with two recordings to compare
  simrec serve 'redis://login1:6379?run=sweep'
  ssh -L 8080:127.0.0.1:8080 cluster simrec serve --port 8080 run.mdb";

/// How many requests read recordings at once. Others wait.
const READERS: usize = 4;

/// Show recordings in a browser, even while simulations write them
///
/// The server reads recordings as any other reader does, in a process of its own: a simulation does not notice.
/// Only who has the address that it prints, with its token, sees the page.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Paths or URLs of recordings
    #[arg(value_name = "RECORDING", required = true)]
    recordings: Vec<PathBuf>,

    /// Port; 0 chooses a free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Address to listen on, for other machines; keep the printed address secret then
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,

    /// Open the page in a browser
    #[arg(long)]
    open: bool,
}

/// What the server shows.
struct Shown {
    recordings: Vec<Recording>,
    readers: Semaphore,
}

struct Recording {
    name: String,
    location: String,
    store: Arc<dyn DataStore>,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let mut recordings = Vec::new();
    for path in &args.recordings {
        recordings.push(Recording {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            location: path.display().to_string(),
            store: simrecorder::open(path)?,
        });
    }
    let shown = Arc::new(Shown {
        recordings,
        readers: Semaphore::new(READERS),
    });
    let failed = |error: std::io::Error| {
        let message = format!("cannot listen on {} port {}; choose another with --port", args.listen, args.port);
        Error::new(ErrorKind::Io, "serve", message).with_source(error)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::new(args.listen, args.port)).await;
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let host_name = (!args.listen.is_loopback()).then(host_name).flatten();
        let access = Arc::new(Access::new(address.port(), host_name)?);
        announce(&access, address, args.open, output)?;
        let router = Router::new()
            .merge(assets::router())
            .nest("/api", api::router(shown))
            .layer(from_fn_with_state(access, access::check));
        let served = axum::serve(listener, router).with_graceful_shutdown(ended());
        served.await.map_err(failed)?;
        Ok(Exit::Success)
    })
}

/// Prints the address, and opens it.
fn announce(access: &Access, address: SocketAddr, open: bool, output: &mut Output) -> Result<()> {
    let url = format!("http://{address}/?token={}", access.token());
    writeln!(output, "{url}")?;
    output.flush()?;
    if std::env::var_os("SSH_CONNECTION").is_some() && address.ip().is_loopback() {
        let port = address.port();
        crate::output::warn(format!(
            "to open it on your own machine, run there: ssh -L {port}:127.0.0.1:{port} HOST"
        ));
    }
    if open {
        webbrowser::open(&url).map_err(|error| {
            Error::new(ErrorKind::Unsupported, "serve", "no browser can be opened; open the address above")
                .with_source(error)
        })?;
    }
    Ok(())
}

fn host_name() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().map(str::to_owned)
}

/// Ends when the program is asked to.
async fn ended() {
    let _ = tokio::signal::ctrl_c().await;
}
