//! The response on its way: interim ones at once, the head with our fields, the body as it comes.

use super::exchange::{Call, Outcome};
use super::forward;
use super::framing::{Body, Framing};
use super::head::{MAX_HEAD, NoHead, ResponseHead, Room};
use super::headers::write_rate_fields;
use super::pace::Phase;
use super::refusal::Connection;
use super::relay::{Sink, Source, relay};
use super::survey::Survey;
use super::upstream::Failure;
use crate::clock;
use bytes::{Buf, BytesMut};
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::WriteHalf;

/// A response of which the head is written.
pub(super) struct Begun {
    body: Body,
    is_chunked: bool,
    pub(super) client_stays: bool,
    pub(super) link_stays: bool,
    /// What follows is of another protocol.
    pub(super) is_upgraded: bool,
}

/// Reads the response and passes it on.
pub(super) async fn respond(
    call: &Call<'_>,
    mut source: Source<'_, '_>,
    client_out: &mut WriteHalf<'_>,
    output: &mut Vec<u8>,
) -> Result<Begun, Outcome> {
    let pace = &call.client.pace;
    let mut has_news = false;
    let begun = loop {
        match begin(call, source.input, output) {
            Ok(begun) => break begun,
            Err(NoHead::Partial) if source.input.len() < MAX_HEAD => {}
            Err(_) => return Err(Outcome::Failed(Failure::Invalid)),
        }
        // An interim response is news only as long as it is new.
        if !output.is_empty() {
            has_news = true;
            client_out.write_all(output).await.map_err(|_| Outcome::Gone)?;
            output.clear();
            pace.renew();
        }
        if !source.read(pace).await.unwrap_or(false) {
            // Whoever has spoken has seen the request: it is not sent again.
            return Err(Outcome::Failed(if has_news { Failure::Invalid } else { Failure::Closed }));
        }
    };
    call.has_begun.set(true);
    pace.enter(Phase::Response);
    let phase = Phase::Response;
    let mut sink = Sink { stream: client_out, phase, output, is_chunked: begun.is_chunked, withheld: "" };
    relay(source, &mut sink, begun.body, pace).await.map_err(|_| Outcome::Gone)?;
    Ok(begun)
}

/// Takes the head of the response off `input`, and interim ones before it, and writes the client's.
fn begin(call: &Call<'_>, input: &mut BytesMut, output: &mut Vec<u8>) -> Result<Begun, NoHead> {
    loop {
        let mut room = Room::new();
        let head = ResponseHead::parse(input, &mut room)?;
        let len = head.len;
        let begun = match head.status {
            101 => Some(write_upgrade(call, output, &head)),
            100..=199 => None,
            _ => Some(write_head(call, output, &head)),
        };
        if let Some(begun) = begun {
            input.advance(len);
            return begun.ok_or(NoHead::Malformed);
        }
        if call.plan.is_http_11 {
            forward::write_response(output, &head, &Survey::of(head.fields), false, true);
            output.extend_from_slice(b"\r\n");
        }
        input.advance(len);
    }
}

/// Writes the head that changes the protocol; `None` if nobody has asked for that.
fn write_upgrade(call: &Call<'_>, output: &mut Vec<u8>, head: &ResponseHead<'_, '_>) -> Option<Begun> {
    let upgrades = &call.client.worker.shared.config.proxy.upgrades;
    let survey = Survey::of(head.fields);
    let protocol = survey.upgrade(upgrades).filter(|_| call.plan.upgrades)?;
    forward::write_response(output, head, &survey, false, call.plan.standing.is_some());
    write_standing(call, output);
    forward::write_upgrade(output, protocol);
    output.extend_from_slice(b"\r\n");
    let body = Body::new(Framing::Length(0));
    Some(Begun { body, is_chunked: false, client_stays: false, link_stays: false, is_upgraded: true })
}

fn note_answer(call: &Call<'_>, status: u16) {
    let Call { client, plan, .. } = call;
    let tally = &client.worker.tally;
    tally.note_answer(plan.origin, status, clock::now().saturating_sub(plan.now));
    if let Some(route) = plan.new_route.as_deref().filter(|_| status < 400) {
        tally.learn(route);
    }
}

fn write_standing(call: &Call<'_>, output: &mut Vec<u8>) {
    if let Some(standing) = &call.plan.standing {
        let headers = call.client.worker.shared.config.headers;
        write_rate_fields(output, standing, None, headers);
    }
}

/// Writes the head of the client's response; `None` if nobody can know where the body ends.
fn write_head(call: &Call<'_>, output: &mut Vec<u8>, head: &ResponseHead<'_, '_>) -> Option<Begun> {
    let Call { client, plan, is_sent, .. } = call;
    note_answer(call, head.status);
    let survey = Survey::of(head.fields);
    let has_no_body = plan.is_head || matches!(head.status, 204 | 304);
    let framing = if has_no_body { Framing::Length(0) } else { survey.response_framing()? };
    let is_open_ended = !matches!(framing, Framing::Length(_));
    let is_chunked = is_open_ended && plan.is_http_11;
    // A client that waited to be told to send its body may send it now or not.
    let is_clear = is_sent.get() || !plan.expects_continue;
    let has_end = is_chunked || !is_open_ended;
    let client_stays = plan.keeps_alive && !client.worker.is_stopping.get() && has_end && is_clear;
    let has_length = !is_open_ended && head.status != 204;
    forward::write_response(output, head, &survey, has_length, plan.standing.is_some());
    write_standing(call, output);
    if is_chunked {
        output.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    let connection = match (client_stays, plan.is_http_11) {
        (false, _) => Connection::Closes,
        (true, true) => Connection::Stays,
        (true, false) => Connection::IsKept,
    };
    output.extend_from_slice(connection.field().as_bytes());
    output.extend_from_slice(b"\r\n");
    let link_stays = survey.keeps_alive(head.is_http_11) && framing != Framing::UntilClose;
    Some(Begun { body: Body::new(framing), is_chunked, client_stays, link_stays, is_upgraded: false })
}
