//! `#[derive(Command)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, LitStr, Path, Type};

use crate::names;

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    if !matches!(input.data, Data::Struct(_)) {
        return Err(syn::Error::new_spanned(
            &input.ident,
            "a command is a struct: one type for one request, so that each has a reply type of its own",
        ));
    }
    let (mut reply, mut name, mut runtime) = (None::<Type>, None::<LitStr>, None::<Path>);
    let mut internal = false;
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("command")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("reply") {
                reply = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("name") {
                name = Some(checked_name(meta.value()?.parse()?)?);
            } else if meta.path.is_ident("internal") {
                internal = true;
            } else if meta.path.is_ident("crate") {
                runtime = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(
                    "expected `reply = Type`, `name = \"...\"`, `internal` or `crate = path`",
                ));
            }
            Ok(())
        })?;
    }
    let runtime = names::runtime(runtime);
    let reply = reply.map_or_else(|| quote!(()), |reply| quote!(#reply));
    let name =
        name.map_or_else(|| names::snake_case(&input.ident.to_string()), |name| name.value());
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #runtime::Command for #ident #arguments #bounds {
            const NAME: &'static str = #name;
            const INTERNAL: bool = #internal;
            type Reply = #reply;
        }
    })
}

/// A command's name is a segment of a URL.
fn checked_name(name: LitStr) -> syn::Result<LitStr> {
    let text = name.value();
    let well_formed = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
    if well_formed {
        Ok(name)
    } else {
        Err(syn::Error::new_spanned(
            name,
            "a command's name is a-z, 0-9, - and _, beginning with a letter",
        ))
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn refusal(input: &DeriveInput) -> String {
        derive(input).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_a_command_is_named() {
        let choice = refusal(&parse_quote! { enum Order { Buy, Sell } });
        assert!(choice.starts_with("a command is a struct"), "{choice}");
        let name = refusal(&parse_quote! { #[command(name = "Not a name")] struct Buy; });
        assert!(name.starts_with("a command's name is a-z"), "{name}");
        let mistyped = refusal(&parse_quote! { #[command(repply = u64)] struct Buy; });
        assert!(mistyped.starts_with("expected `reply = Type`"), "{mistyped}");
    }

    #[test]
    fn name_and_reply_are_as_given_or_as_expected() {
        let written = |input: &DeriveInput| derive(input).unwrap().to_string();
        let plain =
            written(&parse_quote! { #[command(crate = here)] struct OpenAccount<T> { owner: T } });
        assert!(plain.contains("impl < T > here :: Command for OpenAccount < T >"), "{plain}");
        assert!(
            plain.contains("\"open_account\"") && plain.contains("type Reply = () ;"),
            "{plain}"
        );
        let named =
            written(&parse_quote! { #[command(reply = Vec<u8>, name = "buy-now")] struct Buy; });
        assert!(
            named.contains("\"buy-now\"") && named.contains("type Reply = Vec < u8 > ;"),
            "{named}"
        );
    }
}
