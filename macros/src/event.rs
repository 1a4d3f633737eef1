//! `#[derive(Event)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, LitInt, LitStr, Path, Variant};

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
    let EnumAttributes { upcast, tags, runtime } = enum_attributes(input)?;
    let runtime = names::runtime(runtime);
    let names: Vec<String> = data.variants.iter().map(|v| v.ident.to_string()).collect();
    let patterns = data.variants.iter().map(pattern);
    let (mut versions, mut tagged) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        let VariantAttributes { version, tags } = variant_attributes(variant)?;
        let name = variant.ident.to_string();
        if let Some(version) = version {
            versions.push(quote!(#name => #version,));
        }
        if !tags.is_empty() {
            tagged.push(quote!(#name => &[#(#tags),*],));
        }
    }
    let tags = tags.map(|function| find_tags(&function));
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

            fn tags_of(
                name: &::core::primitive::str,
            ) -> &'static [&'static ::core::primitive::str] {
                match name {
                    #(#tagged)*
                    _ => &[],
                }
            }

            #tags

            #upcast
        }
    })
}

/// Tags in what an event says.
fn find_tags(function: &Path) -> TokenStream {
    quote! {
        const FINDS_TAGS: ::core::primitive::bool = true;

        fn tags(&self) -> ::std::vec::Vec<::std::string::String> {
            #function(self)
        }
    }
}

fn pattern(variant: &Variant) -> TokenStream {
    let ident = &variant.ident;
    match variant.fields {
        Fields::Named(_) => quote!(Self::#ident { .. }),
        Fields::Unnamed(_) => quote!(Self::#ident(..)),
        Fields::Unit => quote!(Self::#ident),
    }
}

#[derive(Default)]
struct EnumAttributes {
    upcast: Option<Path>,
    tags: Option<Path>,
    runtime: Option<Path>,
}

#[derive(Default)]
struct VariantAttributes {
    version: Option<u16>,
    tags: Vec<String>,
}

fn enum_attributes(input: &DeriveInput) -> syn::Result<EnumAttributes> {
    let mut attributes = EnumAttributes::default();
    for attribute in input.attrs.iter().filter(|a| a.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("upcast") {
                attributes.upcast = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("tags") {
                attributes.tags = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("crate") {
                attributes.runtime = Some(meta.value()?.parse()?);
            } else {
                return Err(meta.error(
                    "expected `upcast = function`, `tags = function` or `crate = path`; `version` and `tag` stand on a variant",
                ));
            }
            Ok(())
        })?;
    }
    Ok(attributes)
}

fn variant_attributes(variant: &Variant) -> syn::Result<VariantAttributes> {
    let mut attributes = VariantAttributes::default();
    for attribute in variant.attrs.iter().filter(|a| a.path().is_ident("event")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("tag") {
                let literal: LitStr = meta.value()?.parse()?;
                if literal.value().is_empty() || literal.value().contains(',') {
                    return Err(syn::Error::new_spanned(
                        literal,
                        "a tag is not empty and holds no comma, which separates tags in lists",
                    ));
                }
                attributes.tags.push(literal.value());
                return Ok(());
            }
            if !meta.path.is_ident("version") {
                return Err(meta.error("expected `version = 2` or `tag = \"name\"`"));
            }
            let literal: LitInt = meta.value()?.parse()?;
            match literal.base10_parse::<u16>()? {
                0 => Err(syn::Error::new_spanned(literal, "schema versions begin at 1")),
                number => {
                    attributes.version = Some(number);
                    Ok(())
                }
            }
        })?;
    }
    Ok(attributes)
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
        let empty = refusal(&parse_quote! { enum E { #[event(tag = "")] Happened } });
        assert!(empty.starts_with("a tag is not empty"), "{empty}");
        let misplaced = refusal(&parse_quote! { #[event(version = 2)] enum E { Happened } });
        assert!(misplaced.contains("`version` and `tag` stand"), "{misplaced}");
    }

    #[test]
    fn every_form_of_variant_has_its_name() {
        let input = parse_quote! { #[event(crate = here)] enum E { A, B(u8), #[event(version = 3, tag = "new")] C { x: u8 } } };
        let written = derive(&input).unwrap().to_string();
        for part in [
            "Self :: A => \"A\"",
            "Self :: B (..) => \"B\"",
            "Self :: C { .. } => \"C\"",
            "\"C\" => 3u16",
            "\"C\" => & [\"new\"]",
        ] {
            assert!(written.contains(part), "{part} in {written}");
        }
    }
}
