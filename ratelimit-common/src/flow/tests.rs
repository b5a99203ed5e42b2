use super::*;
use proptest::prelude::*;

const SECRET: Secret = Secret { k0: 1, k1: 2 };

#[test]
fn a_credit_is_taken_once_and_only_by_its_slot() {
    let cell = FlowCell::default();
    assert_eq!(cell.record(100, 50, 7, Credit::Paid), Recorded::Yes);
    assert_eq!(cell.take(8), None);
    assert_eq!(cell.take(7), Some(Credit::Paid));
    assert_eq!(cell.take(7), None);
}

#[test]
fn a_retransmission_is_seen_and_the_next_request_is_not() {
    let cell = FlowCell::default();
    assert_eq!(cell.record(u32::MAX - 9, 50, 7, Credit::Paid), Recorded::Yes);
    assert_eq!(cell.record(u32::MAX - 9, 50, 7, Credit::Paid), Recorded::Seen);
    assert_eq!(cell.record(40, 50, 7, Credit::Paid), Recorded::Yes);
    assert_eq!(cell.state().paid(), 2);
}

#[test]
fn another_key_waits_until_the_credits_are_taken() {
    let cell = FlowCell::default();
    assert_eq!(cell.record(0, 50, 7, Credit::Paid), Recorded::Yes);
    assert_eq!(cell.record(50, 50, 8, Credit::Paid), Recorded::NoRoom);
    assert_eq!(cell.take(7), Some(Credit::Paid));
    assert_eq!(cell.record(50, 50, 8, Credit::Paid), Recorded::Yes);
}

#[test]
fn credits_are_bounded() {
    let cell = FlowCell::default();
    for request in 0..7 {
        assert_eq!(cell.record(request * 10, 10, 7, Credit::Paid), Recorded::Yes);
    }
    assert_eq!(cell.record(70, 10, 7, Credit::Paid), Recorded::NoRoom);
}

#[test]
fn a_full_set_gives_up_only_idle_cells() {
    let set = FlowSet::default();
    let now = 1_000 * SECOND_NS;
    for connection in 1..=4_u64 {
        assert!(set.claim(connection << 40, now).is_some());
    }
    assert!(set.claim(5 << 40, now + IDLE_SECONDS * SECOND_NS).is_none());
    set.find(1 << 40).expect("there").touch(1 << 40, now + IDLE_SECONDS * SECOND_NS);
    assert!(set.claim(5 << 40, now + (IDLE_SECONDS + 1) * SECOND_NS).is_some());
    assert!(set.find(1 << 40).is_some() && set.find(2 << 40).is_none());
}

#[test]
fn a_released_cell_is_free_and_tells_what_was_left() {
    let set = FlowSet::default();
    let cell = set.claim(9 << 40, 1).expect("free");
    cell.record(5, 5, 3, Credit::Paid);
    assert_eq!(cell.release(8 << 40).paid(), 0);
    assert_eq!(cell.release(9 << 40).paid(), 1);
    assert!(set.find(9 << 40).is_none());
}

#[test]
fn a_refused_connection_takes_and_gives_nothing_and_is_forgotten_when_it_is_over() {
    let set = FlowSet::default();
    let cell = set.claim(9 << 40, SECOND_NS).expect("free");
    cell.set_idle(true);
    assert!(cell.refuse(cell.state(), 500, 3, 7_000) && cell.state().is_refused());
    cell.set_idle(false);
    assert_eq!(cell.record(900, 5, 3, Credit::Paid), Recorded::NoRoom);
    assert_eq!((cell.take(3), cell.release(9 << 40).word()), (None, 0));
    assert_eq!((cell.state().sequence(), cell.state().slot()), (500, 3));
    assert!(!cell.state().has_refusal(7_000) && (7_016..8_000).all(|ack| cell.state().has_refusal(ack)));
    assert!(cell.close() && !cell.close() && cell.state().is_refused());
    let later = (REFUSED_SECONDS + 2) * SECOND_NS;
    assert!(set.claim(8 << 40, later).is_some_and(|other| other.state().word() == 0));
    assert!(set.find(9 << 40).is_none());
}

#[test]
fn a_request_on_its_way_keeps_a_connection_from_being_idle() {
    let cell = FlowCell::default();
    assert!(!cell.state().is_idle(), "nobody has said so");
    cell.set_idle(true);
    assert!(cell.state().is_idle());
    let seen = cell.state();
    cell.record(100, 50, 7, Credit::Paid);
    assert!(!cell.state().is_idle() && !cell.refuse(seen, 150, 7, 0));
    cell.take(7);
    assert!(cell.state().is_idle());
    cell.set_idle(false);
    assert!(!cell.state().is_idle() && cell.state().has_seen(100));
}

proptest! {
    #[test]
    fn the_state_word_keeps_its_parts(next: u32, slot in 0..FlowState::MAX_SLOTS, paid in 0..8_u64, observed in 0..8_u64) {
        for stage in [Stage::Busy, Stage::Idle, Stage::Refused, Stage::Closed] {
            let state = FlowState::new(next, slot, paid, observed, stage);
            prop_assert_eq!((state.sequence(), state.slot(), state.paid(), state.observed()), (next, slot, paid, observed));
            prop_assert_eq!(state.stage(), stage);
            prop_assert_eq!(state.at(Stage::Busy), FlowState::new(next, slot, paid, observed, Stage::Busy));
        }
    }

    #[test]
    fn both_ends_of_a_connection_matter(client: [u64; 2], host: [u64; 2], ports: [u16; 2]) {
        let forth = Endpoints { client, host, client_port: ports[0], host_port: ports[1] };
        let back = Endpoints { client: host, host: client, client_port: ports[1], host_port: ports[0] };
        prop_assert_eq!(forth == back, forth.hash(SECRET) == back.hash(SECRET));
    }
}
