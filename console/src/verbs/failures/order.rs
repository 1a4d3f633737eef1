//! An order over failures, followed to its end: the node that took it carries it out, whether anybody follows or not.

use std::time::Duration;

use super::super::first_to_answer;
use super::about;
use crate::api_client::{AnyNode, ApiClient};
use crate::cli::Global;
use crate::output::{Exit, Failure, Mark, Output};
use crate::views::{HandledDocument, HandledFailure, OperationDocument, Served};

/// Between two looks at an operation: within it most are over, and a person sees a longer one get on.
const LOOK: Duration = Duration::from_secs(1);

/// How long a node may be silent while an operation of it is followed: a pause, a full queue. No other node knows of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Gives the order and prints what becomes of each failure as it comes, or as one document at the end.
///
/// # Errors
/// When no node takes the order, or the one that did is lost.
pub(super) async fn carry_out(
    order: &str,
    filter: &str,
    global: &Global,
    output: Output,
) -> Result<Exit, Failure> {
    let ask = async |client: &ApiClient| {
        let begun = client.handle_failures(order, filter, LOOK).await?;
        Ok((client.clone(), begun))
    };
    let (client, mut whole) = first_to_answer(global.clients()?, ask).await?;
    let mut node = AnyNode::new(vec![client], 0, PATIENCE).map_err(Failure::from)?;
    let id = whole.body.id.clone();
    if whole.body.is_running() && !output.is_json() {
        let meant = whole.body.meant;
        output.line(format_args!(
            "{order} of {meant} failures: operation {id} of {}, which goes on without this command",
            whole.served_by
        ));
    }
    show(&whole.body.so_far.handled, output);
    while let Some(after) = whole.body.next {
        let look = async |client: &ApiClient| client.operation(&id, after, LOOK).await;
        let page = node.until_answered(look).await.map_err(|error| {
            Failure::from(error)
                .or_try("holm failures shows what stands open; the same order again goes on there")
        })?;
        show(&page.body.so_far.handled, output);
        let mut handled = std::mem::take(&mut whole.body.so_far.handled);
        whole = page;
        handled.append(&mut whole.body.so_far.handled);
        whole.body.so_far.handled = handled;
    }
    conclude(order, &whole, output);
    let done = whole.body.state == "done" && !whole.body.so_far.outcomes.contains_key("failed");
    Ok(if done { Exit::Ok } else { Exit::Failed })
}

/// What an order would do.
pub(super) fn tell_rehearsed(order: &str, rehearsed: &Served<HandledDocument>, output: Output) {
    if output.is_json() {
        return output.document(rehearsed);
    }
    show(&rehearsed.body.handled, output);
    sum(order, &rehearsed.body, "   nothing was done: a dry run", output);
}

fn conclude(order: &str, whole: &Served<OperationDocument>, output: Output) {
    if output.is_json() {
        return output.document(whole);
    }
    let operation = &whole.body;
    let is_done = operation.state == "done";
    if is_done || !operation.so_far.outcomes.is_empty() {
        sum(order, &operation.so_far, "", output);
    }
    if !is_done {
        let left = operation.meant.saturating_sub(operation.so_far.handled.len() as u64);
        let state = operation.state.replace('_', " ");
        output.line(format_args!(
            "{} {state}: {left} of {} have no outcome; the same order again goes on there",
            output.mark(Mark::Bad),
            operation.meant
        ));
    }
}

fn show(handled: &[HandledFailure], output: Output) {
    if output.is_json() {
        return;
    }
    for handled in handled {
        let mark = match handled.outcome.as_str() {
            "done" => Mark::Good,
            "failed" => Mark::Bad,
            "meant" => Mark::Step,
            _ => Mark::Warning,
        };
        let detail = if handled.detail.is_empty() {
            about(&handled.failure)
        } else {
            handled.detail.clone()
        };
        output.line(format_args!(
            "  {} {}   {}   {:8}   {}",
            output.mark(mark),
            handled.failure.subject,
            handled.failure.kind,
            handled.outcome,
            output.faint(detail)
        ));
    }
}

fn sum(order: &str, document: &HandledDocument, note: &str, output: Output) {
    if document.outcomes.is_empty() {
        return output.line(format_args!("{} no open failure is meant", output.mark(Mark::Good)));
    }
    let counts: Vec<_> =
        document.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
    output.line(format_args!("{order}: {}{note}", counts.join(", ")));
}
