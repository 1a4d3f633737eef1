//! Both sides of the handshake over an in-memory stream: who is let in, who is refused and what both are told.

use holm_core::NodeId;
use tokio::io::duplex;

use super::*;

fn credentials(name: &str) -> Credentials {
    Credentials {
        cluster: "test".into(),
        secret: None,
        identity: NodeIdentity { node: NodeId(1), name: name.into(), incarnation: 1, http: None },
        listen: None,
        timeout: Duration::from_secs(5),
        surroundings: crate::surroundings::Surroundings::default(),
    }
}

fn with_secret(name: &str, secret: &str) -> Credentials {
    Credentials { secret: Some(Secret::new(secret)), ..credentials(name) }
}

async fn meet(
    dialler: &Credentials,
    acceptor: &Credentials,
) -> (Result<Hail, HandshakeError>, Result<Hail, HandshakeError>) {
    let (mut left, mut right) = duplex(1 << 16);
    tokio::join!(dial(&mut left, dialler), accept(&mut right, acceptor))
}

fn refused(result: &Result<Hail, HandshakeError>) -> Option<RefusalCode> {
    match result {
        Err(
            HandshakeError::RefusedByPeer { code, .. } | HandshakeError::RefusedHere { code, .. },
        ) => Some(*code),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn two_that_fit_learn_who_the_other_is() {
    for (left, right) in [
        (credentials("a"), credentials("b")),
        (with_secret("a", "s3cret"), with_secret("b", "s3cret")),
    ] {
        let (dialled, accepted) = meet(&left, &right).await;
        assert_eq!(dialled.unwrap().identity.name, "b");
        assert_eq!(accepted.unwrap().identity.name, "a");
    }
}

#[tokio::test(start_paused = true)]
async fn another_cluster_is_refused_and_both_know_why() {
    let stranger = Credentials { cluster: "other".into(), ..credentials("a") };
    let (dialled, accepted) = meet(&stranger, &credentials("b")).await;
    assert_eq!(refused(&dialled), Some(RefusalCode::Cluster));
    assert_eq!(refused(&accepted), Some(RefusalCode::Cluster));
    assert!(dialled.unwrap_err().to_string().contains("other"));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_or_missing_secret_is_refused_whichever_side_lacks_it() {
    for (left, right) in [
        (credentials("a"), with_secret("b", "s3cret")),
        (with_secret("a", "s3cret"), credentials("b")),
        (with_secret("a", "wrong"), with_secret("b", "s3cret")),
    ] {
        let (dialled, accepted) = meet(&left, &right).await;
        assert_eq!(refused(&dialled), Some(RefusalCode::Secret), "{left:?} {right:?}");
        assert_eq!(refused(&accepted), Some(RefusalCode::Secret), "{left:?} {right:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_does_not_talk_to_itself() {
    let me = Credentials { listen: Some("127.0.0.1:1".parse().unwrap()), ..credentials("a") };
    let (dialled, accepted) = meet(&me, &me).await;
    assert_eq!(refused(&dialled), Some(RefusalCode::Myself));
    assert_eq!(refused(&accepted), Some(RefusalCode::Myself));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_not_spoken_is_refused() {
    let (mut left, mut right) = duplex(1 << 16);
    let hail = credentials("a").hail();
    let hello = Greeting::Hello { oldest: 40, newest: 41, cluster: "test".into(), hail };
    left.write_all(&hello.encode()).await.unwrap();
    let accepted = accept(&mut right, &credentials("b")).await;
    assert_eq!(refused(&accepted), Some(RefusalCode::Version));
    let (_, told) = read_greeting(&mut left).await.unwrap();
    let Greeting::Refused { code: RefusalCode::Version, reason } = told else { panic!("{told:?}") };
    assert!(reason.contains("40 to 41"), "{reason}");
}

/// A proof that was overheard opens nothing: the acceptor's nonce is another one each time.
#[tokio::test(start_paused = true)]
async fn a_replayed_handshake_is_refused() {
    let (me, acceptor) = (with_secret("a", "s3cret"), with_secret("b", "s3cret"));
    let (mut left, mut right) = duplex(1 << 16);
    let hail = me.hail();
    let hello = Greeting::Hello { oldest: 1, newest: 1, cluster: "test".into(), hail }.encode();
    left.write_all(&hello).await.unwrap();
    let overheard = tokio::spawn({
        let acceptor = acceptor.clone();
        async move { accept(&mut right, &acceptor).await }
    });
    let (heard, _) = read_greeting(&mut left).await.unwrap();
    let proof = Greeting::Proof { proof: prove(me.secret.as_ref(), DIALLER, &[&hello, &heard]) };
    left.write_all(&proof.encode()).await.unwrap();
    assert!(overheard.await.unwrap().is_ok());

    let (mut thief, mut right) = duplex(1 << 16);
    thief.write_all(&hello).await.unwrap();
    thief.write_all(&proof.encode()).await.unwrap();
    let accepted = accept(&mut right, &acceptor).await;
    assert_eq!(refused(&accepted), Some(RefusalCode::Secret));
}

#[tokio::test(start_paused = true)]
async fn garbage_too_long_and_out_of_turn_are_refused() {
    let mut long = MAGIC.to_vec();
    long.extend_from_slice(&[1, 0xff, 0xff]);
    let hello_body_missing = [&MAGIC[..], &[1, 3, 0, 1, 2, 3]].concat();
    let out_of_turn = Greeting::Ready.encode();
    for garbage in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), long, hello_body_missing, out_of_turn] {
        let (mut left, mut right) = duplex(1 << 16);
        left.write_all(&garbage).await.unwrap();
        let accepted = accept(&mut right, &credentials("b")).await;
        assert_eq!(refused(&accepted), Some(RefusalCode::Malformed), "{garbage:?}");
        let (_, told) = read_greeting(&mut left).await.unwrap();
        assert!(matches!(told, Greeting::Refused { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_stranger_is_cut_off() {
    let (mut left, mut right) = duplex(1 << 16);
    left.write_all(&MAGIC).await.unwrap();
    let accepted = accept(&mut right, &credentials("b")).await;
    assert!(matches!(accepted, Err(HandshakeError::TimedOut(_))), "{accepted:?}");
}
