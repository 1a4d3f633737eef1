//! `holm failures`: what failed, and what is to be done about it.

mod order;

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use holm::bus::CloudEvent;
use holm::{FailureFact, FailureFilter, FailureKind, Severity, Subject};
use serde::Deserialize;

use super::follow::Follow;
use super::{LOOK_TIMEOUT, first_to_answer};
use crate::api_client::{ApiClient, StreamEvent, StreamWish};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output, clock_of_day};
use crate::views::{FailureDocument, FailuresDocument, Served};

/// Show what failed; ask failed commands again, give them up, or let entities go on that are in quarantine.
///
/// FILTER is a kind (panicked, slow_handler, ...), an entity type, the beginning of TYPE/ID, several of them in quotes, or `all`.
#[derive(Debug, Clone, Args)]
pub struct FailuresArgs {
    /// Show only these
    #[arg(value_name = "FILTER", default_value = "all")]
    pub filter: String,
    /// Ask the commands again that failed, each with its own key
    #[arg(long, value_name = "FILTER", conflicts_with_all = ["skip", "resume"])]
    pub retry: Option<String>,
    /// Give the commands up that failed, and let their entities go on
    #[arg(long, value_name = "FILTER", conflicts_with = "resume")]
    pub skip: Option<String>,
    /// Let entities go on that are in quarantine
    #[arg(long, value_name = "FILTER")]
    pub resume: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print failures as they come, and what is done about them
    #[arg(long, conflicts_with_all = ["retry", "skip", "resume"])]
    pub follow: bool,
    /// Do not ask before commands are given up
    #[arg(long)]
    pub yes: bool,
}

impl FailuresArgs {
    /// Lists or acts, and prints the outcome of each failure that was meant.
    ///
    /// # Errors
    /// When no node can be reached, or the filter is none.
    pub async fn run(self, global: &Global, output: Output) -> Result<Exit, Failure> {
        if self.follow {
            return follow(&self.filter, global, output).await;
        }
        let act = match (&self.retry, &self.skip, &self.resume) {
            (Some(filter), ..) => Some(("retry", filter)),
            (_, Some(filter), _) => Some(("skip", filter)),
            (.., Some(filter)) => Some(("resume", filter)),
            _ => None,
        };
        let Some((verb, filter)) = act else {
            let clients = global.patient_clients(Some(LOOK_TIMEOUT))?;
            let list = first_to_answer(clients, async |client| client.failures(&self.filter).await)
                .await?;
            show(&list, output);
            return Ok(Exit::Ok);
        };
        if verb == "skip" && !self.dry_run && !self.yes {
            confirm(global, filter).await?;
        }
        if self.dry_run {
            let ask = async |client: &ApiClient| client.rehearse_failures(verb, filter).await;
            let rehearsed = first_to_answer(global.clients()?, ask).await?;
            order::tell_rehearsed(verb, &rehearsed, output);
            return Ok(Exit::Ok);
        }
        order::carry_out(verb, filter, global, output).await
    }
}

/// What the log of failures tells.
#[derive(Deserialize)]
#[serde(untagged)]
enum Told {
    /// Something failed.
    Failed { fact: FailureFact },
    /// Something was done about it.
    Settled { subject: Subject, kind: FailureKind, how: String },
}

impl Told {
    /// What is told, and when it happened.
    fn read(data: &str) -> Result<(Self, String), serde_json::Error> {
        let event: CloudEvent = serde_json::from_str(data)?;
        Ok((serde_json::from_value(event.data.unwrap_or_default())?, event.time))
    }

    fn is_meant_by(&self, filter: &FailureFilter) -> bool {
        match self {
            Self::Failed { fact } => filter.means(&fact.subject, fact.kind),
            Self::Settled { subject, kind, .. } => filter.means(subject, *kind),
        }
    }

    /// One line.
    fn line(&self, time: &str, output: Output) -> String {
        let (mark, subject, kind, said) = match self {
            Self::Failed { fact } => {
                let mark = if fact.severity < Severity::Error { Mark::Warning } else { Mark::Bad };
                (mark, &fact.subject, fact.kind, fact.reason().lines().next().unwrap_or(""))
            }
            Self::Settled { subject, kind, how } => (Mark::Good, subject, *kind, how.as_str()),
        };
        let (mark, subject) = (output.mark(mark), output.strong(subject));
        format!("{}  {mark} {subject}  {}  {said}", clock_of_day(time), kind.name())
    }
}

async fn follow(filter: &str, global: &Global, output: Output) -> Result<Exit, Failure> {
    let filter: FailureFilter = filter
        .parse()
        .map_err(|error| Failure::usage(format!("`{filter}` is no filter"), error))?;
    let query = vec![("topics", "failures".to_owned()), ("from", "now".to_owned())];
    let wish = StreamWish { query, last_id: None };
    let show = |event: &StreamEvent| match Told::read(&event.data) {
        Ok((told, _)) if !told.is_meant_by(&filter) => true,
        _ if output.is_json() => output.is_read(&event.data),
        Ok((told, time)) => output.is_read(told.line(&time, output)),
        Err(error) => output.is_read(format_args!(
            "{} a failure that cannot be read: {error}",
            output.mark(Mark::Warning)
        )),
    };
    Follow { wish, forever: true, limit: None }.run(global, show).await
}

/// Says how many commands are about to be given up, and asks.
async fn confirm(global: &Global, filter: &str) -> Result<(), Failure> {
    let ask = async |client: &ApiClient| client.rehearse_failures("skip", filter).await;
    let meant = first_to_answer(global.clients()?, ask).await?;
    let count = meant.body.outcomes.get("meant").copied().unwrap_or(0);
    if count == 0 {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        let cause = format!("{count} failed commands would be given up, and nobody can be asked");
        return Err(Failure::usage("nothing was skipped", cause)
            .or_try("say --yes to skip them, or --dry-run to see them"));
    }
    eprint!("Give up {count} failed commands? [y/N] ");
    let mut answer = String::new();
    let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    if read.is_ok() && answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(Failure::new("nothing was skipped", "the answer was no"))
}

fn show(list: &Served<FailuresDocument>, output: Output) {
    if output.is_json() {
        return output.document(list);
    }
    let failures = &list.body.failures;
    if failures.is_empty() {
        let seen = output.faint(format_args!("seen by {}", list.served_by));
        return output.line(format_args!("{} no failures   {seen}", output.mark(Mark::Good)));
    }
    let open = failures.iter().filter(|failure| failure.open).count();
    output.line(format_args!(
        "{} failures   {open} open   {}",
        failures.len(),
        output.faint(format_args!("seen by {}", list.served_by))
    ));
    output.line("");
    let width = |of: fn(&FailureDocument) -> usize| failures.iter().map(of).max().unwrap_or(0);
    let (subject, kind) = (width(|it| it.subject.chars().count()), width(|it| it.kind.len()));
    for failure in failures {
        let mark = match (failure.open, failure.severity.as_str()) {
            (true, _) => Mark::Bad,
            (false, "notice") => Mark::Step,
            (false, _) if failure.settled.is_some() => Mark::Good,
            (false, _) => Mark::Warning,
        };
        let stands = failure.settled.as_deref().unwrap_or(&failure.standing);
        output.line(format_args!(
            "  {} {:subject$}   {:kind$}   {:>6}x   {stands:11}   {}   {}",
            output.mark(mark),
            failure.subject,
            failure.kind,
            failure.count,
            clock_of_day(&failure.last),
            output.faint(about(failure)),
        ));
    }
    if list.body.evicted > 0 {
        output.line(format_args!("  and {} older ones, which are in the log", list.body.evicted));
    }
    if open > 0 {
        output.line("");
        output.line(
            "  Ask again   holm failures --retry FILTER     Give up   holm failures --skip FILTER",
        );
        output.line("  Go on       holm failures --resume FILTER    First look   --dry-run");
    }
}

fn about(failure: &FailureDocument) -> String {
    let said = failure.causes.first().map_or("", |cause| cause.lines().next().unwrap_or(""));
    match &failure.command {
        Some(command) => format!("{}: {said}", command.name),
        None => said.to_owned(),
    }
}
