//! The law of conversations: what a log says that it knows, it knows whole.
//!
//! A log may know nothing ([`Subject::knows_conversations`]); then it must say so, which is a check too.

use holm_core::{CorrelationId, EntityAddress, NodeId, Offset, ShardId};

use super::{Check, OTHER_SHARD, SHARD, Subject, Writer, address, list_checks, wait};
use crate::shard_log::{Conversation, ConversationRecord};

/// The checks of this module.
pub const CHECKS: &[Check] = list_checks![
    law_10_every_record_of_a_conversation_is_found,
    law_10_a_conversation_is_paged_without_gap_or_double,
    law_10_shards_do_not_answer_for_each_other,
    law_10_what_is_not_durable_is_in_no_conversation,
];

/// How many conversations take turns.
const CONVERSATIONS: u64 = 7;

/// Law 10: each record is found in the conversation that it carries, before and after reopening, with who wrote it; and in no other.
pub fn law_10_every_record_of_a_conversation_is_found(subject: &mut dyn Subject) {
    let entities: Vec<_> = (0..5).map(|number| address(&format!("account/{number}"))).collect();
    let mut writer = Writer::lead(subject, SHARD).in_conversations(CONVERSATIONS);
    let mut term = writer.term();
    for round in 0..3 {
        for size in 1..=9 {
            let commands: Vec<(&EntityAddress, usize)> =
                (0..size).map(|step| (&entities[step % entities.len()], 1 + step % 2)).collect();
            assert_eq!(writer.write(subject, &commands), Ok(()));
        }
        check(subject, &writer);
        if round == 1 {
            if !subject.reopen() {
                return;
            }
            (term, _) = subject.lead(SHARD);
            check(subject, &writer);
        }
        writer = writer.at(term);
    }
}

/// Each conversation, and one that nobody had, against the offsets that the writer gave out.
fn check(subject: &dyn Subject, writer: &Writer) {
    let written = writer.next().0 - 1;
    for conversation in (0..=CONVERSATIONS).map(|number| CorrelationId(u128::from(number) + 1)) {
        let found = ask(subject, SHARD, conversation, Offset(1), usize::MAX);
        if !subject.knows_conversations() {
            assert_eq!(found, Conversation::default(), "it claims nothing");
            continue;
        }
        let of_it = |offset: &Offset| writer.conversation_of(*offset) == conversation;
        let expected: Vec<_> = (1..=written).map(Offset).filter(of_it).collect();
        assert_eq!(offsets(&found.records), expected, "{conversation}");
        assert_eq!((found.known_from, found.next), (Some(Offset(1)), None));
        let batches = subject.log().read(SHARD, Offset(1), usize::MAX).expect("readable");
        for ConversationRecord { made_by, stored } in &found.records {
            let batch = batches.iter().find(|batch| batch.record(stored.offset).is_some());
            let batch = batch.expect("what is found stands in the log");
            assert_eq!(batch.record(stored.offset).as_ref(), Some(stored));
            assert_eq!(*made_by, Some(NodeId(batch.term().0)));
        }
    }
}

/// Law 10: pages of any size, from any offset, make the same whole.
pub fn law_10_a_conversation_is_paged_without_gap_or_double(subject: &mut dyn Subject) {
    if !subject.knows_conversations() {
        return;
    }
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD).in_conversations(2);
    for _ in 0..10 {
        assert_eq!(writer.write(subject, &vec![(&alice, 1); 61]), Ok(()));
    }
    let conversation = writer.conversation_of(Offset(2));
    for (from, max_bytes) in [(1, 1), (1, 400), (300, 1_000), (301, usize::MAX), (611, 1)] {
        let (mut found, mut next) = (Vec::new(), Some(Offset(from)));
        while let Some(at) = next {
            let page = ask(subject, SHARD, conversation, at, max_bytes);
            assert!(page.next.is_none_or(|next| next > at), "it goes on");
            assert!(max_bytes > 1 || page.records.len() <= 1, "a page is bounded");
            found.extend(page.records);
            next = page.next;
        }
        let expected: Vec<_> = (from..=610).filter(|offset| offset % 2 == 0).map(Offset).collect();
        assert_eq!(offsets(&found), expected, "from {from}, {max_bytes} bytes");
    }
}

/// Law 10: a shard answers for its own log alone.
pub fn law_10_shards_do_not_answer_for_each_other(subject: &mut dyn Subject) {
    if !subject.knows_conversations() {
        return;
    }
    let (alice, bob) = (address("account/alice"), address("account/bob"));
    let mut here = Writer::lead(subject, SHARD).in_conversations(1);
    let mut there = Writer::lead(subject, OTHER_SHARD).in_conversations(1);
    assert_eq!(here.write(subject, &[(&alice, 1), (&alice, 1)]), Ok(()));
    assert_eq!(there.write(subject, &[(&bob, 1)]), Ok(()));
    let conversation = here.conversation_of(Offset(1));
    for (shard, records) in [(SHARD, 2), (OTHER_SHARD, 1)] {
        let found = ask(subject, shard, conversation, Offset(1), usize::MAX);
        assert_eq!(found.records.len(), records, "{shard}");
    }
}

/// Law 10, with laws 3 and 5: a write that failed is in no answer, unless the log has it all the same.
pub fn law_10_what_is_not_durable_is_in_no_conversation(subject: &mut dyn Subject) {
    let alice = address("account/alice");
    let mut writer = Writer::lead(subject, SHARD).in_conversations(1);
    assert_eq!(writer.write(subject, &[(&alice, 1)]), Ok(()));
    if !subject.knows_conversations() || !subject.break_next_append(SHARD) {
        return;
    }
    let lost = writer.batch(&[(&alice, 1), (&alice, 1)]);
    assert!(wait(subject.log().append(lost)).is_err(), "the write fails");
    subject.heal();
    subject.lead(SHARD);
    let end = subject.log().last_offset(SHARD).expect("readable");
    let found = ask(subject, SHARD, writer.conversation_of(Offset(1)), Offset(1), usize::MAX);
    assert_eq!(offsets(&found.records), (1..=end.0).map(Offset).collect::<Vec<_>>());
}

fn ask(
    subject: &dyn Subject,
    shard: ShardId,
    conversation: CorrelationId,
    from: Offset,
    max_bytes: usize,
) -> Conversation {
    subject.log().conversation(shard, conversation, from, max_bytes).expect("the log is readable")
}

fn offsets(records: &[ConversationRecord]) -> Vec<Offset> {
    records.iter().map(|record| record.stored.offset).collect()
}
