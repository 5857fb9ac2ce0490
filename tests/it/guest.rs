//! Plugins written by hand in WebAssembly text, for what no honest compiler would make.
//!
//! A [`Guest`] lays out what `describe`, `tiers` and `terms` answer as data, and takes the bodies of its functions as
//! text. Out of the box it is a well-behaved plugin of its kind; a test changes the one thing it is about.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A plugin in the making.
#[derive(Clone)]
pub(crate) struct Guest {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) schema: String,
    /// Wanted facts with the number of their type in WIT.
    pub(crate) facts: Vec<(String, u8)>,
    pub(crate) reasons: Vec<String>,
    pub(crate) tiers: Vec<TierData>,
    pub(crate) terms: Vec<(String, u8)>,
    pub(crate) describe: String,
    pub(crate) configure: String,
    pub(crate) evaluate: String,
    pub(crate) columns: String,
    /// Initial memory in pages of 64 KiB.
    pub(crate) pages: u32,
    /// More functions, for the bodies to call.
    pub(crate) functions: String,
    /// What it imports.
    pub(crate) imports: String,
}

/// A tier: its code and its benefits by name and integer.
pub(crate) type TierData = (&'static str, Vec<(&'static str, i64)>);

/// Type numbers of WIT's `value-type`.
pub(crate) const FLAG: u8 = 0;
pub(crate) const INTEGER: u8 = 1;
pub(crate) const MONEY: u8 = 2;
pub(crate) const TEXT: u8 = 6;

/// One verdict per subject: tier 1 where the first fact is at least 199.00, else 0; the reason is number 0.
const EVALUATE_TIERS: &str = "
    (local $i i32) (local $out i32) (local $at i32)
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $len) (i32.const 12))))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $len)))
        (local.set $at (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 12))))
        (i32.store16 (local.get $at) (i64.ge_s
            (i64.load offset=8 (i32.load offset=8 (i32.add (local.get $ptr) (i32.mul (local.get $i) (i32.const 16)))))
            (i64.const 19900)))
        (i32.store offset=4 (local.get $at) (i32.const 0))
        (i32.store offset=8 (local.get $at) (i32.const 0))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 16) (local.get $out)) (i32.store (i32.const 20) (local.get $len))
    (i32.const 16)";

/// The same by column; the first column is of integers.
const EVALUATE_COLUMNS: &str = "
    (local $i i32) (local $rows i32) (local $out i32) (local $column i32)
    (local.set $column (i32.load offset=4 (local.get $ptr)))
    (local.set $rows (i32.load offset=8 (local.get $ptr)))
    (local.set $out (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $rows) (i32.const 2))))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $rows)))
        (i32.store16 (i32.add (local.get $out) (i32.mul (local.get $i) (i32.const 2))) (i64.ge_s
            (i64.load (i32.add (local.get $column) (i32.mul (local.get $i) (i32.const 8)))) (i64.const 19900)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 16) (local.get $out)) (i32.store (i32.const 20) (local.get $rows))
    (i32.const 16)";

impl Guest {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            name: format!("{kind}-by-hand"),
            version: "1.0.0".to_owned(),
            schema: r#"{"type": "object", "properties": {"from": {"type": "integer", "minimum": 0}}, "additionalProperties": false}"#.to_owned(),
            facts: Vec::new(),
            reasons: vec!["because".to_owned()],
            tiers: Vec::new(),
            terms: Vec::new(),
            describe: "(i32.const $description)".to_owned(),
            configure: "(i32.const 0)".to_owned(),
            evaluate: "(unreachable)".to_owned(),
            columns: EVALUATE_COLUMNS.to_owned(),
            pages: 2,
            functions: String::new(),
            imports: String::new(),
        }
    }

    /// A channel whose `send` is `evaluate`; it may call `$fetch`, and answer with what lies at 128.
    pub(crate) fn channel(send: &str) -> Self {
        Self {
            imports: "(import \"galenic:plugin/outbound-http@0.1.0\" \"fetch\" (func $fetch
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))"
                .to_owned(),
            evaluate: send.to_owned(),
            ..Self::new("channel")
        }
    }

    /// A channel that asks for a URL with one header, and says what came of it: accepted for any answer, else a retry
    /// whose code is the first letter of the error and whose message is the error's.
    pub(crate) fn fetching(url: &str, header: (&str, &str)) -> Self {
        let data = |at: u32, text: &str| {
            let bytes: String = text.bytes().map(|byte| format!("\\{byte:02x}")).collect();
            format!("(data (i32.const {at}) \"{bytes}\")")
        };
        let functions =
            [data(512, "GET"), data(520, "dutb+"), data(528, header.0), data(560, header.1), data(640, url)];
        let send = format!(
            "(i32.store (i32.const 600) (i32.const 528)) (i32.store (i32.const 604) (i32.const {name}))
             (i32.store (i32.const 608) (i32.const 560)) (i32.store (i32.const 612) (i32.const {value}))
             (call $fetch (i32.const 512) (i32.const 3) (i32.const 640) (i32.const {url}) (i32.const 600) (i32.const 1)
                 (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 64))
             (if (i32.load8_u (i32.const 64)) (then
                 (i32.store8 (i32.const 128) (i32.const 2))
                 (i32.store (i32.const 132) (i32.add (i32.const 520) (i32.load8_u (i32.const 68))))
                 (i32.store (i32.const 136) (i32.const 1))
                 (if (i32.and (i32.ne (i32.load8_u (i32.const 68)) (i32.const 2)) (i32.ne (i32.load8_u (i32.const 68)) (i32.const 4)))
                     (then (i32.store (i32.const 140) (i32.load (i32.const 72)))
                           (i32.store (i32.const 144) (i32.load (i32.const 76)))))))
             (i32.const 128)",
            name = header.0.len(),
            value = header.1.len(),
            url = url.len(),
        );
        Self { functions: functions.concat(), ..Self::channel(&send) }
    }

    /// A tier rule over lifetime net spend: bronze, and silver from 199.00.
    pub(crate) fn tier() -> Self {
        Self {
            facts: vec![("member.lifetime-net-spend".to_owned(), MONEY)],
            tiers: vec![("bronze", vec![]), ("silver", vec![("discount", 500), ("points-multiplier", 20_000)])],
            evaluate: EVALUATE_TIERS.to_owned(),
            ..Self::new("tier-rule")
        }
    }

    /// An earning rule that gives one award; `points`, `pending` and `valid` are constants.
    pub(crate) fn earning(points: i64, pending: u16, valid: u16) -> Self {
        Self {
            evaluate: format!(
                "(i64.store (i32.const 32) (i64.const {points}))
                 (i32.store16 (i32.const 40) (i32.const {pending})) (i32.store16 (i32.const 42) (i32.const {valid}))
                 (i32.store (i32.const 44) (i32.const 0)) (i32.store (i32.const 48) (i32.const 0))
                 (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1))
                 (i32.const 16)"
            ),
            ..Self::new("earning-rule")
        }
    }

    /// A coupon policy that gives one proposal for one cart; `outcome` stores it at 64 and may use 112 and above.
    pub(crate) fn coupon(outcome: &str) -> Self {
        Self {
            terms: vec![("off".to_owned(), MONEY)],
            evaluate: format!(
                "{outcome}
                 (i32.store (i32.const 88) (i32.const 0)) (i32.store (i32.const 92) (i32.const 0))
                 (i32.store (i32.const 32) (i32.const 64)) (i32.store (i32.const 36) (i32.const 1))
                 (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1))
                 (i32.const 16)"
            ),
            ..Self::new("coupon-policy")
        }
    }

    /// A scorer that gives `count` scores for one request; `scores` stores them at 64, 24 bytes each, and may use 512 and
    /// above.
    pub(crate) fn scorer(scores: &str, count: u32) -> Self {
        Self { evaluate: list_of_lists(scores, count), ..Self::new("scorer") }
    }

    /// A content guard that gives `count` findings for one message, as [`Guest::scorer`] gives scores.
    pub(crate) fn guard(findings: &str, count: u32) -> Self {
        Self { evaluate: list_of_lists(findings, count), ..Self::new("content-guard") }
    }

    /// The component's bytes.
    pub(crate) fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let wit = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/v0");
        let (package, _) = resolve.push_dir(wit).expect("the interfaces parse");
        let world = resolve.select_world(&[package], Some(&format!("{}-plugin", self.kind))).expect("the world exists");
        let mut module = wat::parse_str(self.text()).expect("the module parses");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).expect("embeds");
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true).module(&module).expect("is a module of the world");
        encoder.encode().expect("encodes")
    }

    fn text(&self) -> String {
        let mut image = Image::new();
        let description = self.description(&mut image);
        let (tiers, terms) = (self.tier_list(&mut image), self.term_list(&mut image));
        let interface = format!("galenic:plugin/{}@0.1.0", self.kind);
        let function = |name: &str, signature: &str, body: &str| {
            format!("(func (export \"{interface}#{name}\") {signature} {body})\n")
        };
        let list = "(param $ptr i32) (param $len i32) (result i32)";
        let mut functions =
            function("describe", "(result i32)", &self.describe) + &function("configure", list, &self.configure);
        if self.kind == "channel" {
            let report = "(param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32) (result i32)";
            functions += &function("traits", "(result i32)", "(i32.const 0)");
            functions += &function("send", "(param $message i32) (result i32)", &self.evaluate);
            functions += &function("parse-receipt", report, "(unreachable)");
        } else {
            let call = if self.kind == "content-guard" { "check" } else { "evaluate" };
            functions += &function(call, list, &self.evaluate);
            functions += &format!(
                "(func (export \"cabi_post_{interface}#{call}\") (param i32) (global.set $heap (i32.const $base)))\n"
            );
        }
        if self.kind == "tier-rule" {
            functions += &function("tiers", "(result i32)", &format!("(i32.const {tiers})"));
            functions += &function("evaluate-columns", &format!("(param i64) {list}"), &self.columns);
        }
        if self.kind == "coupon-policy" {
            functions += &function("terms", "(result i32)", &format!("(i32.const {terms})"));
            functions += &function("check-terms", list, "(i32.const 0)");
        }
        let base = image.end().next_multiple_of(16);
        let text = format!(
            "(module {imports}
                (memory (export \"memory\") {pages})
                (global $heap (mut i32) (i32.const {base}))
                (func $realloc (export \"cabi_realloc\") (param i32 i32) (param $align i32) (param $size i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                                            (i32.sub (i32.const 0) (local.get $align))))
                    (global.set $heap (i32.add (local.get $at) (local.get $size)))
                    (block $enough (loop $more
                        (br_if $enough (i32.le_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536))))
                        (drop (memory.grow (i32.const 1)))
                        (br $more)))
                    (local.get $at))
                {more} {functions}
                (data (i32.const {DATA}) \"{data}\"))",
            imports = self.imports,
            more = self.functions,
            pages = self.pages,
            data = image.escaped(),
        );
        text.replace("$description", &description.to_string()).replace("$base", &base.to_string())
    }

    fn description(&self, image: &mut Image) -> u32 {
        let mut record = Vec::new();
        for text in [&self.name, &self.version, &"By hand".to_owned(), &self.schema] {
            record.extend(image.text(text));
        }
        let facts = self.facts.iter().map(|(name, ty)| [&image.text(name)[..], &[*ty, 0, 0, 0]].concat()).collect();
        record.extend(image.list(facts));
        let reason = |code: &String| [image.text(code), image.text("因为"), image.text("because")].concat();
        let reasons = self.reasons.iter().map(reason).collect();
        record.extend(image.list(reasons));
        image.put(&record)
    }

    fn tier_list(&self, image: &mut Image) -> u32 {
        let mut tiers = Vec::new();
        for (code, benefits) in &self.tiers {
            let benefit = |(name, value): &(&str, i64)| {
                [&image.text(name)[..], &[2, 0, 0, 0, 0, 0, 0, 0], &value.to_le_bytes()].concat()
            };
            let benefits = benefits.iter().map(benefit).collect();
            let benefits = image.list(benefits);
            tiers.push([image.text(code), image.text("铜"), image.text(code), benefits].concat());
        }
        let list = image.list(tiers);
        image.put(&list)
    }

    fn term_list(&self, image: &mut Image) -> u32 {
        let term =
            |(name, ty): &(String, u8)| [&image.text(name)[..], &[*ty, 0, 0, 0], &image.text("a term")[..]].concat();
        let terms = self.terms.iter().map(term).collect();
        let list = image.list(terms);
        image.put(&list)
    }
}

/// The body that answers with one list of what `stores` puts at 64.
fn list_of_lists(stores: &str, count: u32) -> String {
    format!(
        "{stores}
         (i32.store (i32.const 32) (i32.const 64)) (i32.store (i32.const 36) (i32.const {count}))
         (i32.store (i32.const 16) (i32.const 32)) (i32.store (i32.const 20) (i32.const 1))
         (i32.const 16)"
    )
}

/// Where data begins; below are scratch cells, of which the first twelve bytes stay zero: `result::ok`.
const DATA: u32 = 1024;

/// Memory in the making, with the canonical ABI's layouts.
struct Image(Vec<u8>);

impl Image {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn end(&self) -> u32 {
        DATA + u32::try_from(self.0.len()).expect("fits")
    }

    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(8), 0);
        let at = self.end();
        self.0.extend(bytes);
        at
    }

    fn pair(at: u32, len: usize) -> [u8; 8] {
        let mut pair = [0; 8];
        pair[..4].copy_from_slice(&at.to_le_bytes());
        pair[4..].copy_from_slice(&u32::try_from(len).expect("fits").to_le_bytes());
        pair
    }

    fn text(&mut self, text: &str) -> [u8; 8] {
        let at = self.put(text.as_bytes());
        Self::pair(at, text.len())
    }

    fn list(&mut self, items: Vec<Vec<u8>>) -> [u8; 8] {
        let at = self.put(&items.concat());
        Self::pair(at, items.len())
    }

    fn escaped(&self) -> String {
        self.0.iter().map(|byte| format!("\\{byte:02x}")).collect()
    }
}
