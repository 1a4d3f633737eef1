//! One node inside an axum service: the service's own routes ask entities, and the data lies in one directory.
//!
//! `cargo run --example embed`, then
//! `curl -X POST 127.0.0.1:3000/accounts/alice/deposits -H 'content-type: application/json' -d '{"amount": 100}'`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use holm::{EntityError, Holm, Outcome};
use holm_domains::bank::{Account, AccountRejection, Balance, Deposit, Open};

type Refused = (StatusCode, String);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let holm = Holm::builder().entity::<Account>().data_dir("target/embed-data").start().await?;
    let app = Router::new()
        .route("/accounts/{id}", get(balance))
        .route("/accounts/{id}/deposits", post(deposit))
        .with_state(holm.clone());
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(interrupted()).await?;
    holm.shutdown().await;
    Ok(())
}

async fn balance(State(holm): State<Holm>, Path(id): Path<String>) -> Result<Json<u64>, Refused> {
    holm.entity::<Account>(id).ask(Balance {}).await.map(Json).map_err(refusal)
}

/// The first deposit opens the account.
async fn deposit(
    State(holm): State<Holm>,
    Path(id): Path<String>,
    Json(deposit): Json<Deposit>,
) -> Result<Json<u64>, Refused> {
    let account = holm.entity::<Account>(id.as_str());
    match account.ask(Open { owner: id }).await {
        Ok(_) | Err(EntityError::Rejected(AccountRejection::AlreadyOpen { .. })) => {}
        Err(error) => return Err(refusal(error)),
    }
    account.ask(deposit).await.map(Json).map_err(refusal)
}

fn refusal(error: EntityError<AccountRejection>) -> Refused {
    let status = match (&error, error.outcome()) {
        (EntityError::Rejected(_), _) => StatusCode::UNPROCESSABLE_ENTITY,
        (_, Outcome::NotApplied) => StatusCode::SERVICE_UNAVAILABLE,
        (_, Outcome::Unknown) => StatusCode::GATEWAY_TIMEOUT,
    };
    (status, error.to_string())
}

async fn interrupted() {
    let _ = tokio::signal::ctrl_c().await;
}
