//! Names: snake case, and the path under which the runtime is reached.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::Ident;

/// `OpenAccount` becomes `open_account`, `HTTPGet` becomes `http_get`.
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        let begins_word = letter.is_uppercase()
            && at > 0
            && (letters[at - 1].is_lowercase()
                || letters[at - 1].is_ascii_digit()
                || letters.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if begins_word && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// The crate that holds the traits: the one named by the attribute, else `holm` when that is a dependency, else `holm_runtime`.
pub(crate) fn runtime(named: Option<syn::Path>) -> TokenStream {
    if let Some(path) = named {
        return quote!(#path);
    }
    let found = |package: &str| -> Option<TokenStream> {
        // Cargo compiles in the directory of the package whose manifest it is.
        let manifest = std::env::var("CARGO_MANIFEST_DIR").ok()?;
        let manifest = std::fs::read_to_string(format!("{manifest}/Cargo.toml")).ok()?;
        let depends = manifest.lines().any(|line| {
            let line = line.trim();
            let as_key = line.strip_prefix(package);
            as_key.is_some_and(|rest| rest.starts_with([' ', '.', '=']))
                || line.ends_with(&format!("dependencies.{package}]"))
        });
        let ident = Ident::new(&package.replace('-', "_"), Span::call_site());
        depends.then(|| quote!(::#ident))
    };
    found("holm-runtime").or_else(|| found("holm")).unwrap_or_else(|| quote!(::holm_runtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_snake_case() {
        for (name, snake) in [
            ("Withdraw", "withdraw"),
            ("OpenAccount", "open_account"),
            ("HTTPGet", "http_get"),
            ("Step2Done", "step2_done"),
            ("A", "a"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}
