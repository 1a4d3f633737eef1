//! The judgement as a table of cases, and a random walk that compares it with what a host would see.

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_millis(450);
const TERM: u64 = 7;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// What is seen of a group that this node leads.
fn leader(term: u64, silence: Option<u64>) -> Seen {
    Seen { term: Some(term), alone: false, silence: silence.map(ms), rests: false }
}

const FOLLOWER: Seen = Seen { term: None, alone: false, silence: None, rests: false };
const NOTHING: Orders = Orders { step_down: None, open: None };

fn open(term: u64) -> Orders {
    Orders { step_down: None, open: Some(term) }
}

fn step_down(term: u64) -> Orders {
    Orders { step_down: Some(term), open: None }
}

/// One shard, with a clock that only the test moves.
struct Shard {
    leading: Leading,
    now: Instant,
}

impl Shard {
    fn new() -> Self {
        Self { leading: Leading::new(LEASE), now: Instant::now() }
    }

    /// A shard that is served at [`TERM`].
    fn serving() -> Self {
        let mut shard = Self::new();
        assert_eq!(shard.look(0, leader(TERM, Some(10))), open(TERM));
        assert!(shard.leading.opened(TERM, shard.now));
        shard
    }

    /// Time passes, then somebody looks.
    fn look(&mut self, after: u64, seen: Seen) -> Orders {
        self.now += ms(after);
        self.leading.judge(seen, self.now)
    }

    /// The majority has been silent for `from` and stays so until `to`; at which silence the shard steps down, if it does.
    fn silent(&mut self, from: u64, to: u64) -> Option<u64> {
        (from / 200 + 1..=to / 200).map(|step| step * 200).find(|silence| {
            let orders = self.look(200, leader(TERM, Some(*silence)));
            assert_eq!(orders.open, None, "opened after a silence of {silence} ms");
            orders.step_down.is_some()
        })
    }
}

/// How much later somebody looks, what is seen, and what the host is told then.
type Look = (u64, Seen, Orders);

/// Every case: what happens, one look after another, and what the host is told each time.
#[test]
fn who_leads() {
    let alone = |term| Seen { alone: true, ..leader(term, None) };
    let cases: [(&str, &[Look]); 7] = [
        ("a follower leads nothing", &[(0, FOLLOWER, NOTHING), (5_000, FOLLOWER, NOTHING)]),
        (
            "an elected leader opens at once, before its majority has said anything",
            &[(0, leader(7, None), open(7)), (0, leader(7, None), NOTHING)],
        ),
        (
            "an opening outlasts a silence of seconds",
            &[
                (0, leader(7, None), open(7)),
                (200, leader(7, None), NOTHING),
                (200, leader(7, Some(400)), NOTHING),
                (200, leader(7, Some(600)), NOTHING),
                (200, leader(7, Some(800)), NOTHING),
                (200, leader(7, Some(1_000)), NOTHING),
                (200, leader(7, Some(1_200)), NOTHING),
            ],
        ),
        (
            "who is deposed steps down, and opens when it is elected again",
            &[
                (0, leader(7, Some(1)), open(7)),
                (1, FOLLOWER, step_down(7)),
                (1, FOLLOWER, NOTHING),
                (1, leader(9, None), open(9)),
            ],
        ),
        (
            "a new term replaces the old leadership",
            &[
                (0, leader(7, Some(1)), open(7)),
                (1, leader(8, None), Orders { step_down: Some(7), open: Some(8) }),
            ],
        ),
        (
            "whoever is alone is its own majority",
            &[(0, alone(7), open(7)), (60_000, alone(7), NOTHING), (200, alone(7), NOTHING)],
        ),
        (
            "a process that slept has not lost its majority until it has listened",
            &[
                (0, leader(7, Some(1)), open(7)),
                (30_000, leader(7, Some(30_000)), NOTHING),
                (1, leader(7, Some(30_001)), NOTHING),
                (100, leader(7, Some(3)), NOTHING),
            ],
        ),
    ];
    for (case, looks) in cases {
        let mut shard = Shard::new();
        for (step, (after, seen, orders)) in looks.iter().enumerate() {
            assert_eq!(shard.look(*after, *seen), *orders, "{case}, step {step}");
        }
    }
}

#[test]
fn a_lost_majority_ends_a_leadership_and_only_its_return_begins_it_again() {
    let mut shard = Shard::serving();
    let lost = shard.silent(0, 5_000).expect("it steps down");
    assert!((800..=1_200).contains(&lost), "after {lost} ms");
    assert_eq!(shard.leading.here(), None);
    assert_eq!(shard.silent(lost, 60_000), None, "there is nothing left to end");
    assert_eq!(shard.look(0, leader(TERM, Some(449))), open(TERM), "at the same term");
}

/// Silence that was asked for is none, however long; when the group wakes, its leader has as long to be heard as any other.
#[test]
fn a_leadership_that_rests_is_not_lost_by_its_silence() {
    let mut shard = Shard::serving();
    let resting = |silence| Seen { rests: true, ..leader(TERM, Some(silence)) };
    for step in 1..=1_000 {
        assert_eq!(shard.look(200, resting(step * 200)), NOTHING, "after {step} looks");
    }
    let woken = 200_000;
    let lost = shard.silent(woken, woken + 5_000).expect("nobody answers: it steps down");
    assert!((400..=800).contains(&(lost - woken)), "{} ms after it woke", lost - woken);
}

#[test]
fn an_opening_in_silence_is_given_up_and_not_begun_again() {
    let mut shard = Shard::new();
    assert_eq!(shard.look(0, leader(TERM, None)), open(TERM));
    let lost = shard.silent(400, 10_000).expect("it is given up");
    assert!((5_000..=6_000).contains(&lost), "after {lost} ms");
    assert_eq!(shard.silent(lost, 60_000), None);
    assert!(!shard.leading.opened(TERM, shard.now), "what was given up does not complete");
    assert_eq!(shard.look(200, leader(TERM, Some(5))), open(TERM));
    assert!(shard.leading.opened(TERM, shard.now));
}

#[test]
fn trouble_is_answered_by_longer_and_longer_rests() {
    let mut shard = Shard::serving();
    let mut phase = LeadPhase::Serving;
    for rest in [100, 200, 400, 800, 1_600, 2_000, 2_000] {
        assert!(shard.leading.trouble(TERM, phase, shard.now));
        assert!(!shard.leading.trouble(TERM, phase, shard.now), "it is over already");
        assert_eq!(shard.look(rest - 1, leader(TERM, Some(5))), NOTHING, "rest of {rest} ms");
        assert_eq!(shard.look(1, leader(TERM, Some(5))), open(TERM), "rest of {rest} ms");
        phase = LeadPhase::Opening;
    }
    assert!(shard.leading.opened(TERM, shard.now));
    shard.now += STEADY + ms(1);
    assert!(shard.leading.trouble(TERM, LeadPhase::Serving, shard.now));
    assert_eq!(shard.look(100, leader(TERM, Some(5))), open(TERM), "a steady one is forgiven");
}

#[test]
fn a_new_term_begins_without_the_troubles_of_the_last() {
    let mut shard = Shard::serving();
    assert!(shard.leading.trouble(TERM, LeadPhase::Serving, shard.now));
    assert_eq!(shard.look(1, leader(TERM + 1, None)), open(TERM + 1));
}

#[test]
fn a_hand_off_that_fails_ends_and_opens_again() {
    let mut shard = Shard::serving();
    assert!(shard.leading.begin_hand_off());
    assert!(!shard.leading.begin_hand_off());
    assert_eq!(shard.leading.end(), Some(TERM));
    assert_eq!(shard.look(1, leader(TERM, Some(5))), open(TERM));
}

#[derive(Debug, Clone)]
enum Step {
    Look { after: u64, leads: bool, silence: Option<u64>, rests: bool },
    Elected,
    Opened,
    Trouble,
    HandOff,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_000_u64, any::<bool>(), proptest::option::of(0..3_000_u64), any::<bool>())
            .prop_map(|(after, leads, silence, rests)| Step::Look { after, leads, silence, rests }),
        1 => Just(Step::Elected),
        2 => Just(Step::Opened),
        1 => Just(Step::Trouble),
        1 => Just(Step::HandOff),
        1 => Just(Step::End),
    ]
}

proptest! {
    /// Whatever happens: the host is told to lead only what the group leads, only once at a time, never the same term again in silence, and
    /// what is held is what the host was told.
    #[test]
    fn orders_fit_what_the_host_was_told_before(steps in proptest::collection::vec(step(), 1..200)) {
        let mut shard = Shard::new();
        let (mut term, mut host, mut before) = (1, None, std::collections::BTreeSet::new());
        for step in steps {
            match step {
                Step::Look { after, leads, silence, rests } => {
                    let led = Seen { rests, ..leader(term, silence) };
                    let seen = if leads { led } else { FOLLOWER };
                    let orders = shard.look(after, seen);
                    if let Some(ended) = orders.step_down {
                        prop_assert_eq!(host.take(), Some(ended));
                    }
                    if let Some(opened) = orders.open {
                        prop_assert!(leads && opened == term);
                        prop_assert_eq!(host.replace(opened), None);
                        let heard = rests || silence.is_some_and(|silence| ms(silence) < LEASE);
                        // A term that was lost and won again cannot be told from a new one.
                        prop_assert!(before.insert(opened) || heard);
                    }
                    if !leads {
                        prop_assert_eq!(host, None);
                        before.clear();
                    }
                }
                Step::Elected => term += 1,
                Step::Opened => {
                    shard.leading.opened(term, shard.now);
                }
                Step::Trouble => {
                    for phase in [LeadPhase::Opening, LeadPhase::Serving] {
                        if shard.leading.trouble(term, phase, shard.now) {
                            prop_assert_eq!(host.take(), Some(term));
                        }
                    }
                }
                Step::HandOff => {
                    shard.leading.begin_hand_off();
                }
                Step::End => prop_assert_eq!(shard.leading.end(), host.take()),
            }
            prop_assert_eq!(shard.leading.here().map(|(term, _)| term), host);
        }
    }
}
