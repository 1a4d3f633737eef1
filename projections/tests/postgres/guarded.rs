//! What a transaction of this store promises by itself: its fence, its guard, and which trouble is whose.

use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::Duration;

use holm_core::{Offset, ShardId, Timestamp};
use holm_projections::postgres::{Config, Transaction};
use holm_projections::{
    Change, HandlerError, Identity, PostgresView, SetAside, SpreadView as _, View as _, ViewError,
    WriteError,
};

use super::node::PATIENCE;
use super::server::{self, PASSWORD, Server};
use super::store::schema_of;
use super::tally::blocking;

const ME: Identity = Identity { name: "me", version: 1 };

fn nothing(_: &mut Transaction<'_>) -> Result<(), HandlerError> {
    Ok(())
}

fn moves(from: u64, to: u64) -> Change {
    Change { moves: vec![(ShardId(3), Offset(from), Offset(to))], ..Change::default() }
}

fn position(view: &PostgresView) -> Offset {
    view.adopt(ME, &mut nothing).unwrap().position.of(ShardId(3))
}

/// A view that nobody else has, of a table `mine`.
fn a_view(server: &Server, name: &str) -> PostgresView {
    let view = PostgresView::new(server.config(), &schema_of(&PathBuf::from(name))).unwrap();
    let table = "CREATE TABLE IF NOT EXISTS mine (x bigint)";
    view.adopt(ME, &mut |tx| Ok(tx.batch_execute(table)?)).unwrap();
    view
}

/// The same view, as another process has it.
fn again(server: &Server, view: &PostgresView) -> PostgresView {
    let other = PostgresView::new(server.config(), view.schema()).unwrap();
    other.adopt(ME, &mut nothing).unwrap();
    other
}

fn mine(server: &Server, view: &PostgresView) -> i64 {
    let count = format!("SELECT count(*) FROM {}.mine", view.schema());
    server.as_a_stranger(|client| client.query_one(&count, &[]).unwrap().get(0))
}

/// A test that may block, on the server of all.
fn on_a_server(test: impl FnOnce(&'static Server) + Send) {
    if let Some(server) = server::shared() {
        test(server);
    }
}

/// Promise G8: a place moves from where it is thought to be, or not at all, and the handler is not asked.
#[test]
fn a_place_that_somebody_else_moved_is_not_moved() {
    on_a_server(|server| {
        let view = a_view(server, "place");
        let other = again(server, &view);
        view.write(&moves(0, 7), &mut nothing).unwrap();
        let mut called = false;
        let fenced = other.write(&moves(0, 8), &mut |_| {
            called = true;
            Ok(())
        });
        let (expected, found) = (Offset(0), Offset(7));
        let Err(WriteError::Fenced { shard: ShardId(3), expected: at, found: is }) = fenced else {
            panic!("{fenced:?}")
        };
        assert_eq!((at, is, called, position(&view)), (expected, found, false, found));
    });
}

/// Promise G8: two members that work on one shard do not come between each other: the second waits, and finds the place of the first. Of a shard that nobody
/// began, too.
#[test]
fn who_comes_second_waits_and_is_fenced() {
    on_a_server(|server| {
        let view = a_view(server, "second");
        for (from, to) in [(0, 7), (7, 9)] {
            let other = again(server, &view);
            let (is_in, first_is_in) = channel();
            let (go_on, told) = channel::<()>();
            let first = view.clone();
            std::thread::scope(|scope| {
                let first = scope.spawn(move || {
                    first.write(&moves(from, to), &mut |tx| {
                        tx.batch_execute("INSERT INTO mine VALUES (1)")?;
                        is_in.send(())?;
                        Ok(told.recv_timeout(PATIENCE)?)
                    })
                });
                first_is_in.recv().unwrap();
                let second = scope.spawn(move || {
                    other.write(&moves(from, to + 1), &mut |tx| {
                        Ok(tx.batch_execute("INSERT INTO mine VALUES (2)")?)
                    })
                });
                until_somebody_waits(server);
                go_on.send(()).unwrap();
                first.join().unwrap().unwrap();
                let second = second.join().unwrap();
                assert!(matches!(second, Err(WriteError::Fenced { .. })), "{second:?}");
            });
            assert_eq!(position(&view), Offset(to));
        }
        assert_eq!(mine(server, &view), 2);
    });
}

/// Waits until a session waits for a lock.
#[expect(clippy::disallowed_methods, reason = "the server is asked until it says so")]
fn until_somebody_waits(server: &Server) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    for _ in 0..500 {
        let number: i64 =
            server.as_a_stranger(|client| client.query_one(waits, &[]).unwrap().get(0));
        if number > 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("nobody waits");
}

/// Law O1: a handler can neither end the transaction that it writes in nor write our tables, and what it does behind that stays nowhere.
#[test]
fn a_handler_cannot_end_its_transaction() {
    on_a_server(|server| {
        let view = a_view(server, "guard");
        let ours = format!("{}_holm", view.schema());
        for sql in [
            "COMMIT",
            "COMMIT; INSERT INTO mine VALUES (2)",
            "COMMIT AND CHAIN",
            "ROLLBACK",
            "ROLLBACK; INSERT INTO public.strangers VALUES (1)",
            "ROLLBACK AND CHAIN",
            "ROLLBACK; BEGIN; SELECT 1",
            "PREPARE TRANSACTION 'x'",
            &format!("DELETE FROM {ours}.positions"),
            &format!("UPDATE {ours}.projection SET paused = true"),
            &format!("INSERT INTO {ours}.positions VALUES (1, 3, 99)"),
            &format!("UPDATE {ours}.generations SET version = 7"),
            &format!("TRUNCATE {ours}.parked"),
            &format!("DROP SCHEMA {ours} CASCADE; SELECT 1"),
            "SELECT 1 / 0",
        ] {
            let before = "CREATE TABLE IF NOT EXISTS public.strangers (x bigint)";
            server.as_a_stranger(|client| client.batch_execute(before).unwrap());
            let written = view.write(&moves(0, 7), &mut |tx| {
                tx.batch_execute("INSERT INTO mine VALUES (1)")?;
                Ok(tx.batch_execute(sql)?)
            });
            let is_refused = matches!(written, Err(WriteError::Handler(_)));
            // What it does to our tables as their owner is found when they are needed next.
            let is_found = matches!(written, Err(WriteError::View(ViewError::Broken { .. })));
            assert!(is_refused || (is_found && sql.starts_with("DROP")), "{sql}: {written:?}");
            assert_eq!((mine(server, &view), position(&view)), (0, Offset(0)), "{sql}");
        }
        let strangers = "SELECT count(*) FROM public.strangers";
        let strangers: i64 =
            server.as_a_stranger(|client| client.query_one(strangers, &[]).unwrap().get(0));
        assert_eq!(strangers, 0);
        // Whoever goes on as if nothing had happened is stopped too.
        for (sql, said) in
            [("SELECT 1 / 0", "a statement failed"), ("ROLLBACK", "the transaction ended")]
        {
            let written = view.write(&moves(0, 7), &mut |tx| {
                let _ = tx.batch_execute(sql);
                Ok(())
            });
            assert!(written.unwrap_err().to_string().contains(said), "{sql}");
        }
        // A savepoint of its own is its affair.
        view.write(&moves(0, 7), &mut |tx| {
            let mut inner = tx.transaction()?;
            assert!(inner.batch_execute("SELECT 1 / 0").is_err());
            inner.rollback()?;
            Ok(tx.batch_execute("INSERT INTO mine VALUES (1)")?)
        })
        .unwrap();
        assert_eq!((mine(server, &view), position(&view)), (1, Offset(7)));
    });
}

/// What the server does to a handler's statement is none of its faults: no record is set aside for it.
#[test]
fn trouble_of_the_server_is_not_the_handlers() {
    on_a_server(|server| {
        let view = a_view(server, "trouble");
        let raise = |code: &str| {
            format!("DO $$ BEGIN RAISE EXCEPTION 'told to' USING ERRCODE = '{code}'; END $$")
        };
        for (sql, passes) in [
            ("SELECT pg_terminate_backend(pg_backend_pid())".to_owned(), true),
            (raise("40001"), true),
            (raise("40P01"), true),
            (raise("53100"), true),
            (raise("57014"), true),
            ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(9)".to_owned(), true),
            (raise("23505"), false),
            ("SELECT nothing".to_owned(), false),
        ] {
            let written = view.write(&moves(0, 7), &mut |tx| Ok(tx.batch_execute(&sql)?));
            let passed = matches!(written, Err(WriteError::View(ViewError::Passing { .. })));
            let blamed = matches!(written, Err(WriteError::Handler(_)));
            assert_eq!((passed, blamed), (passes, !passes), "{sql}: {written:?}");
            assert_eq!(position(&view), Offset(0));
        }
    });
}

/// What cannot be used says what is wrong with it, and no password.
#[test]
fn a_way_that_leads_nowhere_is_told_from_one_that_is_closed() {
    on_a_server(|server| {
        let adopt = |config: &Config| {
            let view = PostgresView::new(config.clone(), "nowhere").unwrap();
            match view.adopt(ME, &mut nothing) {
                Err(WriteError::View(error)) => (error.is_passing(), error.to_string()),
                other => panic!("{other:?}"),
            }
        };
        let good = server.config_tcp();
        let mut wrong = good.clone();
        let (passes, said) = adopt(wrong.password("guessed"));
        assert!(
            !passes && said.contains("password authentication failed for user \"holm\""),
            "{said}"
        );
        assert!(!said.contains("guessed") && said.contains("127.0.0.1:"), "{said}");
        let (passes, said) = adopt(good.clone().dbname("missing"));
        assert!(!passes && said.contains("database \"missing\" does not exist"), "{said}");
        let (passes, said) = adopt(good.clone().user("nobody_known"));
        assert!(!passes && said.contains("nobody_known") && !said.contains(PASSWORD), "{said}");
        let mut closed = Config::new();
        closed.host("127.0.0.1").port(1).user("holm").dbname("postgres");
        let (passes, said) = adopt(&closed);
        assert!(passes && said.contains("127.0.0.1:1"), "{said}");
        let view = PostgresView::new(good, "over_tcp").unwrap();
        view.adopt(ME, &mut nothing).unwrap();
    });
}

/// A schema that is something else is not written into, and an empty one may be given.
#[test]
fn a_schema_of_somebody_else_is_refused() {
    on_a_server(|server| {
        server.as_a_stranger(|client| {
            client
                .batch_execute(
                    "CREATE SCHEMA theirs; CREATE TABLE theirs.x (); CREATE SCHEMA given",
                )
                .unwrap();
        });
        let theirs = PostgresView::new(server.config(), "theirs").unwrap();
        let refused = theirs.adopt(ME, &mut nothing).unwrap_err();
        assert!(refused.to_string().contains("no view of Holm"), "{refused}");
        let given = PostgresView::new(server.config(), "given").unwrap();
        given.adopt(ME, &mut nothing).unwrap();
        let other = given.adopt(Identity { name: "other", version: 1 }, &mut nothing);
        assert!(matches!(other, Err(WriteError::View(ViewError::OfAnother { .. }))), "{other:?}");
        PostgresView::new(server.config(), "Theirs; DROP").unwrap_err();
    });
}

/// Law O8: behind a pause nobody writes, and a pause waits for who is writing.
#[test]
fn a_pause_holds_for_everybody_from_then_on() {
    on_a_server(|server| {
        let view = a_view(server, "pause");
        let other = again(server, &view);
        let (is_in, first_is_in) = channel();
        let (go_on, told) = channel::<()>();
        let first = view.clone();
        std::thread::scope(|scope| {
            let writing = scope.spawn(move || {
                first.write(&moves(0, 7), &mut |_| {
                    is_in.send(())?;
                    Ok(told.recv_timeout(PATIENCE)?)
                })
            });
            first_is_in.recv().unwrap();
            let pausing = scope.spawn(|| other.set_paused(true));
            until_somebody_waits(server);
            assert!(!pausing.is_finished());
            go_on.send(()).unwrap();
            writing.join().unwrap().unwrap();
            pausing.join().unwrap().unwrap();
        });
        let written = view.write(&moves(7, 8), &mut nothing);
        assert!(matches!(written, Err(WriteError::Paused)), "{written:?}");
        assert!(view.adopt(ME, &mut nothing).unwrap().paused && view.look().unwrap().paused);
        other.set_paused(false).unwrap();
        view.write(&moves(7, 8), &mut nothing).unwrap();
    });
}

/// A text that no column holds is stored as near as can be, and what was parked is taken up once.
#[test]
fn a_record_is_parked_and_taken_up_once() {
    on_a_server(|server| {
        let view = a_view(server, "parked");
        let text = "a\0b".to_owned();
        let aside = SetAside {
            shard: ShardId(3),
            offset: Offset(7),
            events: text.clone(),
            entity: text.clone(),
            reason: text,
            at: Timestamp::from_millis(5),
            parked: true,
        };
        view.write(&Change { set_aside: vec![aside], ..moves(0, 7) }, &mut nothing).unwrap();
        let [kept] = &view.set_aside().unwrap()[..] else { panic!("one") };
        assert_eq!(
            (kept.reason.as_str(), kept.offset, kept.parked),
            ("a\u{fffd}b", Offset(7), true)
        );
        let take_up = Change { taken_up: Some((ShardId(3), Offset(7))), ..Change::default() };
        view.write(&take_up, &mut nothing).unwrap();
        again(server, &view).write(&take_up, &mut nothing).unwrap_err();
        assert_eq!(view.set_aside().unwrap(), []);
    });
}

/// A switch is refused while the new view is behind, a dropped one cannot be written, and what was begun is found again.
#[test]
fn a_switch_is_for_what_has_caught_up() {
    on_a_server(|server| {
        let view = a_view(server, "switch");
        view.write(&moves(0, 7), &mut nothing).unwrap();
        let dropped = view.begin_rebuild().unwrap();
        let beside = again(server, &view).begin_rebuild().unwrap();
        let late = dropped.adopt(ME, &mut nothing);
        assert!(matches!(late, Err(WriteError::Replaced)), "{late:?}");
        assert!(!view.switch_to(dropped).unwrap_err().is_passing());
        let table = "CREATE TABLE mine (x bigint); INSERT INTO mine VALUES (1), (2)";
        beside.adopt(ME, &mut |tx| Ok(tx.batch_execute(table)?)).unwrap();
        beside.write(&moves(0, 5), &mut nothing).unwrap();
        let early = view.switch_to(beside.clone()).unwrap_err();
        assert!(early.is_passing() && early.to_string().contains("2 records behind"), "{early}");
        // Made to wait, those who write to the present view do; who builds does not.
        assert!(view.hold_for(&beside).unwrap());
        let held = view.write(&moves(7, 8), &mut nothing);
        assert!(matches!(&held, Err(WriteError::View(error)) if error.is_passing()), "{held:?}");
        let beside = again(server, &view).half_built().unwrap().unwrap();
        beside.adopt(ME, &mut nothing).unwrap();
        beside.write(&moves(5, 7), &mut nothing).unwrap();
        view.switch_to(beside.clone()).unwrap();
        // Whoever asks a second time, because the answer was lost, is told the same.
        view.switch_to(beside.clone()).unwrap();
        let late = beside.write(&moves(7, 8), &mut nothing);
        assert!(matches!(late, Err(WriteError::Replaced)), "{late:?}");
        assert_eq!((mine(server, &view), position(&view)), (2, Offset(7)));
        view.write(&moves(7, 8), &mut nothing).unwrap();
        assert!(view.half_built().unwrap().is_none());
        assert_eq!(view.look().unwrap().present.number, 3, "a number is not used twice");
    });
}

/// A writer of an older version writes nothing into a newer view.
#[test]
fn another_version_is_not_written_into() {
    on_a_server(|server| {
        let old = a_view(server, "version");
        let new = PostgresView::new(server.config(), old.schema()).unwrap();
        let second = Identity { name: "me", version: 2 };
        assert_eq!(new.adopt(second, &mut nothing).unwrap().version, 1);
        assert!(matches!(new.write(&moves(0, 7), &mut nothing), Err(WriteError::Replaced)));
        let beside = new.rebuild_once(2).unwrap().unwrap();
        beside.adopt(second, &mut nothing).unwrap();
        assert!(old.rebuild_once(1).unwrap().is_none(), "a newer one grows");
        assert_eq!(
            new.rebuild_once(2).unwrap().map(|it| format!("{it:?}")),
            Some(format!("{beside:?}"))
        );
        new.switch_to(beside).unwrap();
        assert!(matches!(old.write(&moves(0, 7), &mut nothing), Err(WriteError::Replaced)));
        new.write(&moves(0, 7), &mut nothing).unwrap();
    });
}

/// All that is read is of one view, whatever takes its place in the middle; a read holds no switch up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_of_one_view() {
    let Some(server) = server::shared() else { return };
    let view = blocking(|| a_view(server, "read")).await;
    let writing = view.clone();
    blocking(move || {
        let rows = "INSERT INTO mine VALUES (1), (2)";
        writing.write(&moves(0, 7), &mut |tx| Ok(tx.batch_execute(rows)?)).unwrap();
    })
    .await;
    let switching = view.clone();
    let switch = move || {
        let beside = switching.begin_rebuild().unwrap();
        let table = "CREATE TABLE mine (x bigint); INSERT INTO mine VALUES (1), (2), (3)";
        beside.adopt(ME, &mut |tx| Ok(tx.batch_execute(table)?)).unwrap();
        beside.write(&moves(0, 7), &mut nothing).unwrap();
        switching.switch_to(beside).unwrap();
    };
    let mut calls = 0;
    let counts = view.read(move |tx| {
        calls += 1;
        let count = "SELECT count(*) FROM mine";
        let before: i64 = tx.query_one(count, &[])?.get(0);
        if calls == 1 {
            // On another connection: it does not wait for this one.
            switch();
        }
        Ok((calls, before, tx.query_one(count, &[])?.get::<_, i64>(0)))
    });
    assert_eq!(counts.await.unwrap(), (2, 3, 3), "it was read again");
    let written = view.read(|tx| tx.execute("DELETE FROM mine", &[])).await.unwrap_err();
    assert!(written.to_string().contains("read-only"), "{written}");
    let nobody = PostgresView::new(server.config(), "nobody_wrote").unwrap();
    let none = nobody.read(|tx| tx.query_one("SELECT 1", &[])).await.unwrap_err();
    assert!(none.is_passing() && none.to_string().contains("no projection has written"), "{none}");
}
