//! The way to the control loop, for whatever runs beside it.

use crate::control::Control;
use tokio::sync::{mpsc, oneshot};

/// Questions that wait; whoever has more waits with them.
const WAITING: usize = 16;

/// What the control loop is to do; it answers by itself.
pub(crate) type Question = Box<dyn FnOnce(&mut Control) + Send>;

/// The control loop's end of the line.
pub(crate) type Questions = mpsc::Receiver<Question>;

/// The other end; a clone is another speaker.
#[derive(Clone, Debug)]
pub(crate) struct Line(mpsc::Sender<Question>);

/// The control loop asks nobody any more: the daemon stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping;

impl Line {
    /// Both ends of a line.
    pub(crate) fn new() -> (Self, Questions) {
        let (sender, questions) = mpsc::channel(WAITING);
        (Self(sender), questions)
    }

    /// Has the control loop answer `question` when it is free to.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Control) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (tell, told) = oneshot::channel();
        let question: Question = Box::new(move |control| {
            // Who asked may have gone.
            let _ = tell.send(question(control));
        });
        self.0.send(question).await.map_err(|_| Stopping)?;
        told.await.map_err(|_| Stopping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// While the proxy drains, the control loop answers nobody any more.
    #[tokio::test]
    async fn who_asks_a_daemon_that_stops_is_told_so() {
        let (line, questions) = Line::new();
        drop(questions);
        assert_eq!(line.ask(|_| ()).await, Err(Stopping));
    }
}
