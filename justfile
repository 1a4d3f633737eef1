# The menu. `just` lists it; every line also works without just, as written.

[private]
default:
    @just --list --unsorted

# Does it compile, tests and benches too?
check:
    cargo check --workspace --all-targets

# Bring every file into the one format.
fmt:
    cargo fmt --all

# Everything that finds fault without running the code.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings
    cargo xtask tidy

# Every test, those with real processes too.
test:
    cargo test --workspace

# Views in PostgreSQL, against a server that the tests start themselves: `initdb` and `postgres` must be there.
postgres:
    HOLM_TESTS_NEED_POSTGRES=1 cargo test --workspace --features holm-projections/postgres --test postgres

# Harm to a cluster of real processes; `just chaos --help` lists the faults. Root is needed for most.
chaos *args:
    cargo xtask chaos {{args}}

# Seeds of the simulated cluster; `cargo xtask sim --seed S` replays one.
sim *arguments:
    cargo xtask sim {{arguments}}

# The micro benches; `cargo run --release -- bench` measures a whole node.
bench:
    cargo bench --workspace

# The API pages, with broken links as errors.
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# What the build server runs, in its order.
ci:
    cargo xtask ci
