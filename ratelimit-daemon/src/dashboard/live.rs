//! What happens now: made once a second while anybody watches, and sent to all of them.

use super::Desk;
use super::overview::{Meter, Overview};
use axum::extract::State;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use bytes::Bytes;
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};

const PERIOD: Duration = Duration::from_secs(1);

/// Tells all who watch how it is, every second, until the daemon stops.
pub(super) async fn produce(desk: Desk) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut meter = Meter::default();
    loop {
        ticks.tick().await;
        meter.read();
        if desk.live.receiver_count() == 0 {
            continue;
        }
        let Ok(overview) = Overview::of(&desk, &meter).await else { return };
        if let Ok(text) = serde_json::to_vec(&overview) {
            desk.live.send_replace(Bytes::from(text));
        }
    }
}

/// `GET /api/live`: one event a second. Whoever reads slowly gets the latest.
pub(super) async fn watch(State(desk): State<Desk>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let seconds = WatchStream::from_changes(desk.live.subscribe());
    let events = seconds.map(|text| Ok(Event::default().data(String::from_utf8_lossy(&text))));
    Sse::new(events).keep_alive(KeepAlive::default())
}
