//! Passes log messages of the library to Python's `logging`.
//!
//! Threads of the library may log at any moment, even while the interpreter shuts down, or while a
//! thread that holds its lock waits for them. So they only queue a message, and the next call from
//! Python passes it on.

use std::fmt::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::{Event, Level, Metadata, Subscriber};

/// The maximum number of queued messages; further ones are counted.
const CAPACITY: usize = 4096;

static ARE_WAITING: AtomicBool = AtomicBool::new(false);
static QUEUE: Mutex<Option<Receiver<Message>>> = Mutex::new(None);
static LOST: AtomicU64 = AtomicU64::new(0);

struct Message {
    level: u8,
    text: String,
}

/// Starts queueing log messages.
pub(crate) fn install() {
    let (sender, receiver) = sync_channel(CAPACITY);
    // If there is already another subscriber, it receives the messages.
    if tracing::subscriber::set_global_default(Queueing { sender }).is_ok() {
        *QUEUE.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
    }
}

/// Passes on the queued messages.
#[inline]
pub(crate) fn deliver(py: Python<'_>) -> PyResult<()> {
    match ARE_WAITING.load(Ordering::Relaxed) {
        true => deliver_all(py),
        false => Ok(()),
    }
}

#[cold]
fn deliver_all(py: Python<'_>) -> PyResult<()> {
    static LOG: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    ARE_WAITING.store(false, Ordering::Relaxed);
    let messages: Vec<_> = match QUEUE.try_lock() {
        Ok(queue) => queue.iter().flat_map(Receiver::try_iter).collect(),
        Err(_) => Vec::new(),
    };
    let log = LOG.import(py, "simrecorder._errors", "log")?;
    for message in messages {
        log.call1((message.level, message.text))?;
    }
    let lost = LOST.swap(0, Ordering::Relaxed);
    if lost > 0 {
        log.call1((30, format!("{lost} more messages were discarded")))?;
    }
    Ok(())
}

/// Queues events.
struct Queueing {
    sender: SyncSender<Message>,
}

impl Subscriber for Queueing {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && *metadata.level() <= Level::INFO
            && metadata.target().starts_with("simrecorder")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        let mut text = Text::default();
        event.record(&mut text);
        let text = text.message + &text.fields;
        if self.sender.try_send(Message { level, text }).is_err() {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        ARE_WAITING.store(true, Ordering::Relaxed);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// The message of an event, followed by its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a `String` cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " [{name}: {value:?}]"),
        };
    }
}
