//! Disks that fail, and processes that are killed, at a chosen step.

use std::cell::RefCell;
use std::io;

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It and all steps after it do nothing: the process was killed before it.
    Kill,
    /// As `Kill`, but a write writes half of its bytes first.
    KillWithin,
    /// It fails with a full disk, once.
    Fail,
    /// As `Fail`, but a write writes half of its bytes first.
    FailWithin,
    /// It fails, two more steps succeed, and then the process is killed.
    FailThenKill,
}

#[derive(Default)]
struct Plan {
    taken: u64,
    fault: Option<(u64, Fault)>,
    met: bool,
}

thread_local! {
    static PLAN: RefCell<Plan> = RefCell::default();
    static WATCHER: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

/// Runs something before each step, or nothing any more.
pub(super) fn watch(watcher: Option<Box<dyn FnMut()>>) {
    WATCHER.set(watcher);
}

/// Lets this thread meet a fault after so many more steps.
pub(super) fn plan(steps: u64, fault: Fault) {
    PLAN.set(Plan {
        taken: 0,
        fault: Some((steps, fault)),
        met: false,
    });
}

/// Whether there is a plan. Nothing needs to reach the disk then, which saves much time.
pub(super) fn is_planned() -> bool {
    PLAN.with_borrow(|plan| plan.fault.is_some())
}

/// Ends a plan; whether its fault was met.
pub(super) fn clear() -> bool {
    PLAN.take().met
}

/// Called before each change of a file.
pub(super) fn step() -> io::Result<()> {
    write(|_| Ok(()), &[])
}

/// Called before a write, which `some` does for a part of the bytes.
pub(super) fn write(some: impl FnOnce(usize) -> io::Result<()>, bytes: &[u8]) -> io::Result<()> {
    if let Some(mut watcher) = WATCHER.take() {
        watcher();
        WATCHER.set(Some(watcher));
    }
    let met = PLAN.with_borrow_mut(|plan| {
        let (at, fault) = plan.fault?;
        let step = plan.taken;
        plan.taken += 1;
        let first = step == at;
        let killed = match fault {
            Fault::Kill | Fault::KillWithin => step > at,
            Fault::FailThenKill => step > at + 2,
            Fault::Fail | Fault::FailWithin => false,
        };
        let met = first || killed;
        plan.met |= met;
        met.then_some((fault, first))
    });
    let Some((fault, first)) = met else {
        return Ok(());
    };
    if first && matches!(fault, Fault::KillWithin | Fault::FailWithin) {
        some(bytes.len() / 2)?;
    }
    Err(io::Error::new(io::ErrorKind::StorageFull, "injected"))
}
