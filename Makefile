# Everything a fresh machine needs: Rust with rustup, a C compiler, make. `make demo` and `make test` do the rest.

CARGO ?= cargo
SHELL := /bin/bash
# Where Python finds what it does not have itself.
export PYTHONPATH := $(CURDIR)/target/python$(if $(PYTHONPATH),:$(PYTHONPATH))

.PHONY: setup build demo test lint doc bench fmt

setup: ## install what is missing: the wasm target, the linter's and formatter's components, an SMTP server for the tests
	@rustup target list --installed | grep -qx wasm32-unknown-unknown || rustup target add wasm32-unknown-unknown
	@cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
	@cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
	@python3 -c 'import aiosmtpd' 2>/dev/null || python3 -m pip install --quiet --target target/python aiosmtpd || { apt-get update -qq && apt-get install -y -qq python3-aiosmtpd; }
	@python3 -c 'import aiosmtpd' || { echo 'python3 cannot import aiosmtpd, which the tests and the demo send mail to'; exit 1; }
	@command -v cc >/dev/null || { apt-get update -qq && apt-get install -y -qq gcc; }

build: setup ## the release binary, reference plugins built in
	$(CARGO) build --release --locked -p galenic

demo: build ## a year of real orders through the engine, over HTTP
	target/release/galenic demo

test: setup ## every test: units, properties, plugins, end to end, crash rounds, house rules
	$(CARGO) test --workspace --locked

lint: setup ## format, lints, documentation: warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

bench: build ## measures into target/bench/*.json, PostgreSQL 15 beside it
	@test -x /usr/lib/postgresql/15/bin/pgbench || { apt-get update -qq && apt-get install -y -qq postgresql-15; }
	target/release/galenic bench
