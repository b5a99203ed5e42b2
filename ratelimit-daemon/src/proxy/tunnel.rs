//! A connection after its client and the upstream have agreed on another protocol: bytes, both ways.

use super::exchange::Side;
use super::framing::{Body, Framing};
use super::pace::{Pace, Phase};
use super::relay::{Broken, Sink, Source, relay};
use super::upstream::Link;
use tokio::io::AsyncWriteExt;

/// Passes on what either side sends, until both have ended, or one of them breaks off.
pub(super) async fn tunnel(side: Side<'_>, link: &mut Link, waiting: &mut Vec<u8>) {
    let Side { client, stream, input, output } = side;
    client.pace.enter(Phase::Tunnel);
    // What was to be sent, was sent.
    waiting.clear();
    output.clear();
    let (mut client_in, mut client_out) = stream.split();
    let (mut link_in, mut link_out) = link.stream.split();
    let phase = Phase::Tunnel;
    let (is_chunked, withheld) = (false, "");
    let up = one_way(
        Source { stream: &mut client_in, input, phase },
        Sink { stream: &mut link_out, phase, output: waiting, is_chunked, withheld },
        &client.pace,
    );
    let down = one_way(
        Source { stream: &mut link_in, input: &mut link.input, phase },
        Sink { stream: &mut client_out, phase, output, is_chunked, withheld },
        &client.pace,
    );
    // Whoever broke off is gone; there is nobody to tell.
    let _ = tokio::try_join!(up, down);
}

/// Passes on what comes from `source`, and its end.
async fn one_way(source: Source<'_, '_>, mut sink: Sink<'_, '_>, pace: &Pace) -> Result<(), Broken> {
    relay(source, &mut sink, Body::new(Framing::UntilClose), pace).await?;
    sink.stream.shutdown().await.map_err(|_| Broken::Sink)
}
