//! What runs beside: one copy of the machinery for all kinds of tasks, where the executor's own
//! functions make one for each.

use smol::Task;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

type Work = Box<dyn FnOnce() + Send>;
type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `work`, which may wait for the disk or the processor, on the pool of threads for that.
/// Dropped while it waits its turn, it is not run; a panic of it is the caller's.
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = Arc::new(Mutex::new(None));
    let place = done.clone();
    let work: Work = Box::new(move || {
        let result = work();
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    });
    // Where it panicked this does too.
    smol::unblock(work).await;
    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
    match done.take() {
        Some(done) => done,
        None => unreachable!("work ended without a result"),
    }
}

/// Runs a future beside what runs now, until it or its task's handle is dropped.
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task<()> {
    let future: Boxed = Box::pin(future);
    smol::spawn(future)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn work_gives_its_result_or_its_panic() {
        smol::block_on(async {
            assert_eq!(unblock(|| 6 * 7).await, 42);
            let failed = std::panic::catch_unwind(|| {
                smol::block_on(unblock(|| -> u8 { panic!("on purpose") }))
            });
            let why = failed.expect_err("it panicked");
            assert_eq!(why.downcast_ref::<&str>(), Some(&"on purpose"));
        });
    }

    #[test]
    fn a_task_runs_until_its_handle_is_dropped() {
        let (give, take) = mpsc::sync_channel(1);
        let done = spawn(async move {
            give.send(1).expect("the other end is there");
        });
        smol::block_on(done);
        assert_eq!(take.recv(), Ok(1));
        let (give, take) = mpsc::sync_channel::<u8>(1);
        drop(spawn(async move {
            std::future::pending::<()>().await;
            drop(give);
        }));
        // The other end is gone with the future.
        assert!(take.recv().is_err());
    }
}
