//! The examples that come to an end by themselves: each is run as a reader would run it, and says what it is about.

use std::process::Command;

/// What an example prints, built if it is not.
fn run(name: &str) -> String {
    let cargo = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "holm", "--example", name])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
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
