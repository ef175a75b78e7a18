//! Failing disks and killed processes, at a chosen step.

use std::cell::RefCell;
use std::io;

/// What happens at the chosen step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// This step and all later ones do nothing: the process was killed before it.
    Kill,
    /// Like `Kill`, but a write first writes half of its bytes.
    KillWithin,
    /// The step fails with a full disk, once.
    Fail,
    /// Like `Fail`, but a write first writes half of its bytes.
    FailWithin,
    /// The step fails, two more steps succeed, and then the process is killed.
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

/// Runs `watcher` before each step from now on, or nothing.
pub(super) fn watch(watcher: Option<Box<dyn FnMut()>>) {
    WATCHER.set(watcher);
}

/// Makes this thread meet a fault after `steps` more steps.
pub(super) fn plan(steps: u64, fault: Fault) {
    PLAN.set(Plan {
        taken: 0,
        fault: Some((steps, fault)),
        met: false,
    });
}

/// Whether a fault is planned. Then nothing has to reach the disk, which saves much time.
pub(super) fn is_planned() -> bool {
    PLAN.with_borrow(|plan| plan.fault.is_some())
}

/// Removes the plan. Returns whether its fault occurred.
pub(super) fn clear() -> bool {
    PLAN.take().met
}

/// Called before each change of a file.
pub(super) fn step() -> io::Result<()> {
    write(|_| Ok(()), &[])
}

/// Called before a write. `some` writes a part of the bytes.
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
