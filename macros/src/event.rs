//! `#[derive(Event)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, LitInt, Path, Variant};

use crate::names;

pub(crate) fn derive(input: &DeriveInput) -> syn::Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new_spanned(
            &input.ident,
            "events are an enum: one variant for each fact, named in the past tense",
        ));
    };
    if data.variants.is_empty() {
        return Err(syn::Error::new_spanned(
            &input.ident,
            "an entity without events has no history: add a variant",
        ));
    }
    let (upcast, runtime) = enum_attributes(input)?;
    let runtime = names::runtime(runtime);
    let names: Vec<String> = data.variants.iter().map(|v| v.ident.to_string()).collect();
    let patterns = data.variants.iter().map(pattern);
    let mut versions = Vec::new();
    for variant in &data.variants {
        if let Some(version) = variant_version(variant)? {
            let name = variant.ident.to_string();
            versions.push(quote!(#name => #version,));
        }
    }
    let upcast = upcast.map(|function| {
        quote! {
            fn upcast(
                name: &::core::primitive::str,
                schema_version: ::core::primitive::u16,
                payload: &[::core::primitive::u8],
            ) -> ::core::result::Result<Self, #runtime::UpcastError> {
                #function(name, schema_version, payload)
            }
        }
    });
    let ident = &input.ident;
    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics #runtime::Event for #ident #arguments #bounds {
            const NAMES: &'static [&'static ::core::primitive::str] = &[#(#names),*];

            fn name(&self) -> &'static ::core::primitive::str {
                match self {
                    #(#patterns => #names,)*
                }
            }

            fn schema_version(name: &::core::primitive::str) -> ::core::primitive::u16 {
                match name {
                    #(#versions)*
                    _ => 1,
                }
            }

            #upcast
        }
    })
}

fn pattern(variant: &Variant) -> TokenStream {
    let ident = &variant.ident;
    match variant.fields {
        Fields::Named(_) => quote!(Self::#ident { .. }),
        Fields::Unnamed(_) => quote!(Self::#ident(..)),
        Fields::Unit => quote!(Self::#ident),
    }
}

fn enum_attributes(input: &DeriveInput) -> syn::Result<(Option<Path>, Option<Path>)> {
    let (mut upcast, mut runtime) = (None, None);
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("upcast") {
                upcast = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("crate") {
                runtime = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(
                    "expected `upcast = function` or `crate = path`; `version` stands on a variant",
                ));
            }
            Ok(())
        })?;
    }
    Ok((upcast, runtime))
}

fn variant_version(variant: &Variant) -> syn::Result<Option<u16>> {
    let mut version = None;
    for attribute in variant.attrs.iter().filter(|a| a.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("version") {
                return Err(meta.error("expected `version = 2`"));
            }
            let literal: LitInt = meta.value()?.parse()?;
            match literal.base10_parse::<u16>()? {
                0 => Err(syn::Error::new_spanned(literal, "schema versions begin at 1")),
                number => {
                    version = Some(number);
                    Ok(())
                }
            }
        })?;
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    fn refusal(input: &DeriveInput) -> String {
        derive(input).unwrap_err().to_string()
    }

    #[test]
    fn what_cannot_be_events_is_named() {
        let single = refusal(&parse_quote! { struct Deposited { amount: u64 } });
        assert!(single.starts_with("events are an enum"), "{single}");
        let none = refusal(&parse_quote! { enum Nothing {} });
        assert!(none.starts_with("an entity without events"), "{none}");
        let zero = refusal(&parse_quote! { enum E { #[event(version = 0)] Happened } });
        assert_eq!(zero, "schema versions begin at 1");
        let misplaced = refusal(&parse_quote! { #[event(version = 2)] enum E { Happened } });
        assert!(misplaced.contains("`version` stands on a variant"), "{misplaced}");
    }

    #[test]
    fn every_form_of_variant_has_its_name() {
        let input = parse_quote! { #[event(crate = here)] enum E { A, B(u8), #[event(version = 3)] C { x: u8 } } };
        let written = derive(&input).unwrap().to_string();
        for part in [
            "Self :: A => \"A\"",
            "Self :: B (..) => \"B\"",
            "Self :: C { .. } => \"C\"",
            "\"C\" => 3u16",
        ] {
            assert!(written.contains(part), "{part} in {written}");
        }
    }
}
