//! The derive macros `Event` and `Command`. They write what a person would write by hand and nothing else.
//!
//! Their output names `holm_runtime`; a program that depends on the facade `holm` alone says `#[event(crate = holm)]` or
//! `#[command(crate = holm)]`, or lets the macro find out: the facade exports the runtime's traits at its root.

mod command;
mod event;
mod names;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives `Event` for an enum whose variants are the facts; the name of each is the variant's.
///
/// `#[event(version = 2)]` on a variant sets the version of its schema (1 without it). `#[event(upcast = path::to::function)]` on the enum names
/// the function that reads older versions: `fn(&str, u16, &[u8]) -> Result<Self, UpcastError>`.
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Derives `Command` for a struct: `#[command(reply = u64)]`.
///
/// The name is the struct's in snake case; `#[command(name = "other")]` sets another. Without `reply` the reply is `()`.
#[proc_macro_derive(Command, attributes(command))]
pub fn derive_command(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    command::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
