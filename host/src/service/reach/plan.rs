//! What a touch would look like and which way it would take: everything that is done outside transactions.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    domain::{
        channel::{AddressKind, Message},
        fact::{self, Facts, Scope, Value},
        guard::Draft,
        member::{Member, Profile},
        touch::{Channel, Language},
    },
    ids::TouchId,
    members::vault::{KeyClass, VaultError},
    reach::{
        carrier::{Carrier, Reviewed},
        consent,
        gate::{self, Case, Review, Verdict, Way},
        secrets::{AddressHash, StoredHash},
        suppression,
        tables::{CONTENTS, TEMPLATES, TOUCHES},
        template::{self, Rendered, Template, Variant},
        touch::{self, Note, State, Touch},
    },
    service::{
        Error, Services,
        members::destroyed_is_erased,
        settings::ReachSettings,
        tables::{MEMBERS, PROFILES},
    },
    store::{StoreError, Tx},
};

/// Characters of a note's message and of a phrase that a guard found.
const NOTE_CHARS_MAX: usize = 200;

/// What was read of a touch whose turn it is, of one moment.
pub(super) struct Seen {
    pub(super) touch: Touch,
    member: Member,
    template: Template,
    profile: Option<Vec<u8>>,
    content: Vec<u8>,
    /// The approved text of each channel.
    texts: Vec<(Channel, Variant)>,
}

/// How a touch would go, or why it would not.
pub(super) struct Plan {
    pub(super) way: Way,
    pub(super) review: Review,
    pub(super) channel: Channel,
    pub(super) carrier: Option<Arc<dyn Carrier>>,
    pub(super) address: Option<AddressHash>,
    pub(super) text: Option<(Language, u32)>,
    pub(super) message: Option<Message>,
    pub(super) note: Option<Note>,
    /// Another provider stands behind this one.
    pub(super) more: bool,
}

/// The part of a plan that a transaction looks at.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) way: Way,
    pub(super) review: Review,
    pub(super) channel: Channel,
    pub(super) slot: Option<String>,
    pub(super) deduplicates: bool,
    pub(super) address: Option<AddressHash>,
    pub(super) text: Option<(Language, u32)>,
    pub(super) note: Option<Note>,
    pub(super) settings: ReachSettings,
    pub(super) zone: TimeZone,
}

/// A vault opened for one touch.
struct Opened {
    profile: Profile,
    variables: Vec<(String, String)>,
}

impl Seen {
    /// Reads everything about a touch that waits and is due; `None` if it does not or is not.
    pub(super) fn load(tx: &mut Tx<'_>, id: TouchId, now: Timestamp) -> Result<Option<Self>, Error> {
        let Some(touch) = tx.get(&TOUCHES, &id)? else { return Ok(None) };
        if touch.queued.is_none_or(|due| due > now) {
            return Ok(None);
        }
        let gone = |what: &str| StoreError::Corrupt { table: TOUCHES.name(), reason: format!("{what} of {id}").into() };
        let member = tx.get(&MEMBERS, &touch.member)?.ok_or_else(|| gone("no member"))?;
        let template = tx.get(&TEMPLATES, &touch.template)?.ok_or_else(|| gone("no template"))?;
        let content = tx.get(&CONTENTS, &id)?.ok_or_else(|| gone("no content"))?;
        let languages = template::languages(member.language);
        let mut texts = Vec::new();
        for channel in &template.channels {
            if let Some(variant) = template::approved(tx, &touch.template, *channel, &languages)? {
                texts.push((*channel, variant));
            }
        }
        let profile = tx.get(&PROFILES, &touch.member)?;
        Ok(Some(Self { touch, member, template, profile, content, texts }))
    }
}

impl Plan {
    fn none(way: Way, channel: Channel) -> Self {
        Self {
            way,
            review: Review::Unapproved,
            channel,
            carrier: None,
            address: None,
            text: None,
            message: None,
            note: None,
            more: false,
        }
    }

    pub(super) fn terms(&self, services: &Services) -> Terms {
        Terms {
            way: self.way,
            review: self.review,
            channel: self.channel,
            slot: self.carrier.as_ref().map(|carrier| carrier.slot().to_owned()),
            deduplicates: self.carrier.as_ref().is_some_and(|carrier| carrier.traits().deduplicates),
            address: self.address,
            text: self.text,
            note: self.note.clone(),
            settings: services.settings.reach.clone(),
            zone: services.settings.zone.clone(),
        }
    }
}

impl Terms {
    /// Asks the gate about a touch as it stands in this transaction; the day it would count towards.
    pub(super) fn judge(
        &self,
        tx: &mut Tx<'_>,
        touch: &Touch,
        member: &Member,
        template: &Template,
        now: Timestamp,
    ) -> Result<(Verdict, i32), Error> {
        let zone = member.zone.as_deref().and_then(|zone| TimeZone::get(zone).ok());
        let zone = zone.as_ref().unwrap_or(&self.zone);
        let day = gate::day_of(now, zone);
        let (class, id) = (touch.class, touch.member);
        let case = Case {
            class,
            now,
            expires: touch.expires,
            way: self.way,
            consented: consent::given(tx, id, self.channel, class, template.purpose)?,
            suppressed: suppression::suppressed(tx, id, self.channel, self.address.as_ref(), class)?,
            review: self.review,
            quiet: self.settings.quiet,
            zone,
            counted: if class.capped() { touch::counted(tx, touch, day)? } else { 0 },
            cap: self.settings.cap_per_day,
        };
        Ok((gate::check(&case), day))
    }
}

impl Services {
    /// Picks the channel, renders the text and asks the guard.
    pub(super) async fn plan(&self, seen: &Seen, now: Timestamp) -> Result<Plan, Error> {
        let touch = &seen.touch;
        let opened = match self.open(seen) {
            Err(Error::Erased) => return Ok(Plan::none(Way::Erased, touch.channel)),
            opened => opened?,
        };
        // What may have been taken is never sent another way.
        let channels = if touch.uncertain { vec![touch.channel] } else { seen.template.channels.clone() };
        let mut best: Option<(u8, Plan)> = None;
        for channel in channels {
            let plan = self.way(seen, &opened, channel);
            let (terms, touch, member) = (plan.terms(self), touch.clone(), seen.member.clone());
            let template = seen.template.clone();
            let judged = self.store.peek(move |tx| terms.judge(tx, &touch, &member, &template, now)).await?;
            // One that only lacks the guard's word; else one that a release may carry soon; else the first with a way.
            let rank = match (judged.0, plan.way) {
                (Verdict::AskGuard, _) => 3,
                (Verdict::Defer(..), _) => 2,
                (_, Way::Open) => 1,
                _ => 0,
            };
            if best.as_ref().is_none_or(|(known, _)| rank > *known) {
                best = Some((rank, plan));
            }
            if rank == 3 {
                break;
            }
        }
        let Some((rank, mut plan)) = best else { return Ok(Plan::none(Way::NoCarrier, touch.channel)) };
        if rank == 3 {
            self.review(&mut plan, touch).await;
        }
        Ok(plan)
    }

    fn open(&self, seen: &Seen) -> Result<Opened, Error> {
        let (id, Some(profile)) = (seen.touch.member, &seen.profile) else { return Err(Error::Erased) };
        let profile = self.unseal(id, profile)?;
        if seen.content.is_empty() {
            return Err(Error::Erased);
        }
        let plain = self.vault.open(id, KeyClass::Profile, CONTENTS.name().as_bytes(), &seen.content);
        let plain = plain.map_err(|error| match error {
            VaultError::Unknown => Error::Erased,
            other => destroyed_is_erased(other),
        })?;
        let variables = minicbor::decode(&plain).map_err(|error| {
            Error::Store(StoreError::Corrupt { table: CONTENTS.name(), reason: error.to_string().into() })
        })?;
        Ok(Opened { profile, variables })
    }

    /// The way over one channel, up to the guard.
    fn way(&self, seen: &Seen, opened: &Opened, channel: Channel) -> Plan {
        let touch = &seen.touch;
        let passed = if channel == touch.channel { touch.providers_passed as usize } else { 0 };
        let carriers = self.reach.outlets.carriers(channel);
        let Some(carrier) = carriers.get(passed) else { return Plan::none(Way::NoCarrier, channel) };
        let traits = carrier.traits();
        let member = touch.member.to_string();
        let to = match traits.address {
            AddressKind::Phone => opened.profile.phone.as_deref(),
            AddressKind::Email => opened.profile.email.as_deref(),
            AddressKind::Member => Some(member.as_str()),
        };
        let Some(to) = to else { return Plan::none(Way::NoAddress, channel) };
        let mut plan = Plan {
            carrier: Some(Arc::clone(carrier)),
            address: Some(self.reach.secrets.address(traits.address, to)),
            more: carriers.len() > passed + 1,
            ..Plan::none(Way::Open, channel)
        };
        let variant = seen.texts.iter().find(|(known, _)| *known == channel).map(|(_, variant)| variant);
        let Some(variant) = variant.filter(|text| !traits.templates_only || text.vendor_template_id.is_some()) else {
            return plan;
        };
        plan.text = Some((variant.language, variant.version));
        let link = if touch.class.can_be_stopped() { self.link(touch.member, channel) } else { String::new() };
        let name = opened.profile.name.as_deref().unwrap_or("");
        match variant.render(&opened.variables, name, &link) {
            Ok(rendered) => {
                plan.review = Review::Unasked;
                plan.message = Some(message(touch, variant, rendered, (to.to_owned(), link), &opened.variables));
            }
            Err(error) => {
                plan.review = Review::Broken;
                plan.note = Some(note("template-broken", &error.to_string()));
            }
        }
        plan
    }

    async fn review(&self, plan: &mut Plan, touch: &Touch) {
        let Some(message) = &plan.message else { return };
        let mut facts = Facts::of(Scope::Subject);
        let known = [
            ("touch.class", touch.class.name()),
            ("touch.channel", plan.channel.name()),
            ("touch.language", message.language.as_str()),
            ("touch.template", touch.template.as_str()),
        ];
        for (name, text) in known {
            if let Some(fact) = fact::find(name) {
                facts.set(fact, Value::from(text));
            }
        }
        let parts = message.subject.iter().chain([&message.text]).cloned().collect();
        match self.reach.outlets.review(Draft { facts, parts }).await {
            Reviewed::Clear => plan.review = Review::Clear,
            Reviewed::Blocked { phrase, rule } => {
                plan.review = Review::Blocked;
                plan.note = Some(note(&rule, &phrase));
            }
            Reviewed::Unavailable(why) => {
                tracing::warn!(touch = %touch.id, why, "the content guard cannot be asked");
                plan.review = Review::Unavailable;
                plan.note = Some(note("guard-unavailable", &why));
            }
        }
    }
}

fn message(
    touch: &Touch,
    variant: &Variant,
    rendered: Rendered,
    (to, link): (String, String),
    given: &[(String, String)],
) -> Message {
    let value = |name: &String| given.iter().find(|(known, _)| known == name).cloned();
    Message {
        key: touch::key_of(touch.id),
        class: touch.class.name(),
        language: variant.language.name().to_owned(),
        to,
        template_id: variant.vendor_template_id.clone(),
        signature: variant.signature.clone(),
        variables: variant.variables.iter().filter_map(value).collect(),
        subject: rendered.subject,
        text: rendered.text,
        unsubscribe_url: Some(link).filter(|link| !link.is_empty()),
    }
}

/// A note within its bounds.
pub(super) fn note(code: &str, message: &str) -> Note {
    let cut = |text: &str, max| text.chars().filter(|letter| !letter.is_control()).take(max).collect();
    Note { code: cut(code, 64), message: cut(message, NOTE_CHARS_MAX) }
}

/// Writes into a touch what an attempt uses.
pub(super) fn take_on(touch: &mut Touch, terms: &Terms) {
    if terms.channel != touch.channel {
        touch.providers_passed = 0;
    }
    if terms.slot != touch.slot {
        touch.tries = 0;
    }
    touch.attempts = touch.attempts.saturating_add(1);
    touch.tries = touch.tries.saturating_add(1);
    touch.slot.clone_from(&terms.slot);
    touch.address = terms.address.map(StoredHash);
    (touch.language, touch.version) = terms.text.unzip();
    touch.note = None;
}

/// Whether the touch is still the one that was planned.
pub(super) fn same(now: &Touch, planned: &Touch) -> bool {
    now == planned && !matches!(now.state, State::Sending { .. })
}
