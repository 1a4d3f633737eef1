//! The examples that come to an end by themselves: each is run as a reader would run it, and says what it is about.

use std::process::Command;

/// What an example prints, built if it is not.
fn run(name: &str) -> String {
    // Some keep data below the folder that they are started in, and go on with it.
    let dir = tempfile::tempdir().unwrap();
    let cargo = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .args(["--package", "holm", "--example", name])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8(cargo.stdout).unwrap();
    assert!(cargo.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&cargo.stderr));
    said
}

#[test]
fn process() {
    let said = run("process");
    assert!(said.contains("books: ") && said.contains("paid, 30 left"), "{said}");
}

#[test]
fn subscribe() {
    let said = run("subscribe");
    for line in ["live      bob withdrew 30 cents (their event 3)", "letters sent"] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}

#[test]
fn projection() {
    let said = run("projection");
    let ranking = r#"[("Alice", 120), ("Carol", 90), ("Bob", 70)]"#;
    assert!(said.contains(&format!("rebuilt: {ranking}, 6 of 6 records")), "{said}");
}

#[test]
fn supervision() {
    let said = run("supervision");
    for line in [
        "garage weighs 7 g and noticed nothing",
        "scale/kitchen is in quarantine since failure",
        "scale/kitchen panicked 3 times: attempt to divide by zero",
        "kitchen weighs 100 g, as before",
    ] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}

/// What was done is undone, the newest first.
#[test]
fn onboarding_orchestration() {
    let said = run("onboarding_orchestration");
    let back = "record undone, address undone, credit undone";
    for line in [
        "ada: started, credit done, address done, record done, Approved".to_owned(),
        format!("turned back: there is a criminal record, {back}, Rejected"),
        "cy: started, turned back: nobody gets that much credit, Rejected".to_owned(),
        format!("overdue, turned back: it took too long, {back}, TimedOut"),
        "published: eve TimedOut".to_owned(),
    ] {
        assert!(said.contains(&line), "`{line}` is missing:\n{said}");
    }
}

#[test]
fn onboarding_choreography() {
    let said = run("onboarding_choreography");
    for line in [
        "ada: Admitted\n",
        "bob: TurnedDown: there is a criminal record\n",
        "eve: TurnedDown: the office did not answer\n",
        "bob: customer Applied, credit-check Reserved, address-check Confirmed, record-check Requested",
        "bob: record-check Tainted",
        "record-check Requested, record-check Lapsed",
        "address-check Forgotten, credit-check Released",
    ] {
        assert!(said.contains(line), "`{line}` is missing:\n{said}");
    }
}
