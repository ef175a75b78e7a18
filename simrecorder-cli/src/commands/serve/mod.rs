//! `simrec serve`: a page that shows recordings, even running ones, in a browser.

mod access;
mod api;
mod assets;
mod demo;
mod figures;
mod keys;
mod live;
mod pyramids;
mod query;
mod records;
mod server;
mod shortened;
mod shown;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use simrecorder::{Error, ErrorKind};
use tokio::net::TcpListener;

use self::access::Access;
use self::demo::Demo;
use self::shown::Shown;
use crate::exit::{Exit, Result};
use crate::output::{Output, warn};

const EXAMPLES: &str = "\
Examples:
  simrec serve run.mdb                       prints an address for a browser on this machine
  simrec serve --open run.mdb other.h5       opens it, with two recordings to compare
  simrec serve --demo                        a small simulation, to try the page
  simrec serve 'redis://login1:6379?run=sweep'
  ssh -L 8080:127.0.0.1:8080 cluster simrec serve --port 8080 run.mdb";

/// The number of requests that read at the same time.
const READING_THREADS: usize = 8;

/// Show recordings in a browser, even while simulations write them
///
/// The server reads recordings in its own process, like any other reader: it does not slow a
/// simulation down. It answers only requests with the token in the address that it prints.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Paths or URLs of recordings
    #[arg(value_name = "RECORDING", required_unless_present = "demo")]
    recordings: Vec<PathBuf>,

    /// Show a small running simulation; its recording is removed at the end
    #[arg(long)]
    demo: bool,

    /// Port; 0 chooses a free one
    #[arg(long, default_value_t = 0)]
    port: u16,

    /// Address to listen on, for access from other machines; then keep the printed address secret
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,

    /// Open the page in a browser
    #[arg(long)]
    open: bool,
}

pub(crate) fn run(args: &Args, output: &mut Output) -> Result<Exit> {
    let demo = args.demo.then(Demo::start).transpose()?;
    let shown = Arc::new(Shown::open(&args.recordings, demo.as_ref())?);
    list_keys(Arc::clone(&shown));
    let failed = |error: std::io::Error| {
        let message = format!(
            "cannot listen on {} port {}; choose another with --port",
            args.listen, args.port
        );
        Error::new(ErrorKind::Io, "serve", message).with_source(error)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(READING_THREADS)
        .enable_all()
        .build()
        .map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = TcpListener::bind(SocketAddr::new(args.listen, args.port)).await;
        let listener = listener.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let access = Arc::new(Access::new(address)?);
        announce(&access, address, args.open, output)?;
        let router = Router::new()
            .merge(assets::router())
            .nest("/api", api::router(shown))
            .layer(from_fn_with_state(access, access::check));
        server::serve(listener, router).await.map_err(failed)?;
        Ok(Exit::Success)
    });
    // Without waiting for requests that are still reading.
    runtime.shutdown_background();
    served
}

/// Lists all keys on a separate thread, so that the first search does not wait for it.
fn list_keys(shown: Arc<Shown>) {
    std::thread::spawn(move || {
        for recording in &shown.recordings {
            // The request for the keys reports the error.
            let _ = shown.keys(recording);
        }
    });
}

/// Prints the address, and opens it if requested.
fn announce(access: &Access, address: SocketAddr, open: bool, output: &mut Output) -> Result<()> {
    let url = access.url();
    writeln!(output, "{url}")?;
    output.flush()?;
    if std::env::var_os("SSH_CONNECTION").is_some() && address.ip().is_loopback() {
        let port = address.port();
        warn(format!(
            "to open it on your own machine, run there: ssh -L {port}:127.0.0.1:{port} HOST"
        ));
    }
    if open && let Err(error) = open::that_detached(&url) {
        warn(format!(
            "no browser could be opened: {error}; open the address yourself"
        ));
    }
    Ok(())
}
