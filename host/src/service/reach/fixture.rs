//! Ways out of the house for tests: carriers that do as they are told and remember what they carried.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::future::BoxFuture;
use jiff::Timestamp;

use super::{NewConsent, NewVariant, Reach, WantedTouch, templates::Decide};
use crate::{
    domain::{
        channel::{AddressKind, Attempt, ChannelTraits, Failure, Incoming, Message, Received},
        guard::Draft,
        member::{ExternalId, Profile},
        touch::{Channel, Class, ConsentPurpose, Language},
    },
    ids::{MemberId, TouchId},
    reach::{
        carrier::{Carrier, Outlets, Reviewed, Unread},
        secrets::Secrets,
        template::Approval,
        touch::Touch,
    },
    service::{fixture::Fixture, members::NewMember},
};

/// What the outside world is told and what it saw.
#[derive(Default)]
pub(super) struct World {
    state: Mutex<WorldState>,
}

#[derive(Default)]
struct WorldState {
    /// The providers of each channel: slot and whether it deduplicates.
    providers: HashMap<Channel, Vec<(String, bool)>>,
    /// How the next attempts in a slot end; accepted where nothing is said.
    script: HashMap<String, VecDeque<Attempt>>,
    /// Every call: slot, key, address, text, when.
    calls: Vec<Call>,
    /// What the next reports say.
    reports: VecDeque<Result<Received, Unread>>,
    /// Slots that never answer, and how many attempts wait there now, and waited at most.
    silent: HashMap<String, (usize, usize)>,
    guard_down: bool,
    phrases: Vec<String>,
}

/// One call of a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) slot: String,
    pub(super) key: String,
    pub(super) to: String,
    pub(super) text: String,
    pub(super) link: Option<String>,
    pub(super) at: Timestamp,
    pub(super) attempt: Attempt,
}

struct Told {
    world: Arc<World>,
    slot: String,
    channel: Channel,
    deduplicates: bool,
}

struct TheWorld(Arc<World>);

/// An attempt that waits for an answer.
struct Waits<'a> {
    world: &'a World,
    slot: String,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some((now, _)) = self.world.state().silent.get_mut(&self.slot) {
            *now -= 1;
        }
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, WorldState> {
        self.state.lock().expect("nothing panics in between")
    }

    pub(super) fn provide(&self, channel: Channel, providers: &[(&str, bool)]) {
        let providers = providers.iter().map(|(slot, dedup)| ((*slot).to_owned(), *dedup)).collect();
        self.state().providers.insert(channel, providers);
    }

    pub(super) fn say(&self, slot: &str, attempts: impl IntoIterator<Item = Attempt>) {
        self.state().script.entry(slot.to_owned()).or_default().extend(attempts);
    }

    /// From now on nobody answers in a slot.
    pub(super) fn silence(&self, slot: &str) {
        self.state().silent.insert(slot.to_owned(), (0, 0));
    }

    /// How many attempts waited at one time for a slot in which nobody answers.
    pub(super) fn waited(&self, slot: &str) -> usize {
        self.state().silent.get(slot).map_or(0, |(_, most)| *most)
    }

    fn wait(&self, slot: &str) -> Option<Waits<'_>> {
        let mut state = self.state();
        let (now, most) = state.silent.get_mut(slot)?;
        *now += 1;
        *most = (*most).max(*now);
        Some(Waits { world: self, slot: slot.to_owned() })
    }

    pub(super) fn report(&self, report: Result<Received, Unread>) {
        self.state().reports.push_back(report);
    }

    pub(super) fn guard_down(&self, down: bool) {
        self.state().guard_down = down;
    }

    pub(super) fn forbid(&self, phrase: &str) {
        self.state().phrases.push(phrase.to_owned());
    }

    /// Forgets what was told and not done yet.
    pub(super) fn calm(&self) {
        let mut state = self.state();
        state.script.clear();
        state.silent.clear();
        state.guard_down = false;
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }
}

impl Outlets for TheWorld {
    fn carriers(&self, channel: Channel) -> Vec<Arc<dyn Carrier>> {
        let providers = self.0.state().providers.get(&channel).cloned().unwrap_or_default();
        let told = |(slot, deduplicates)| -> Arc<dyn Carrier> {
            Arc::new(Told { world: Arc::clone(&self.0), slot, channel, deduplicates })
        };
        providers.into_iter().map(told).collect()
    }

    fn carrier(&self, slot: &str) -> Option<Arc<dyn Carrier>> {
        let channel = crate::reach::carrier::channel_of(slot)?;
        self.carriers(channel).into_iter().find(|carrier| carrier.slot() == slot)
    }

    fn review(&self, draft: Draft) -> BoxFuture<'_, Reviewed> {
        let state = self.0.state();
        let found = state.phrases.iter().find(|phrase| draft.parts.iter().any(|part| part.contains(*phrase)));
        let reviewed = match (state.guard_down, found) {
            (true, _) => Reviewed::Unavailable("down".to_owned()),
            (false, Some(phrase)) => Reviewed::Blocked { phrase: phrase.clone(), rule: "absolute-term".to_owned() },
            (false, None) => Reviewed::Clear,
        };
        Box::pin(async { reviewed })
    }
}

impl Carrier for Told {
    fn slot(&self) -> &str {
        &self.slot
    }

    fn traits(&self) -> ChannelTraits {
        let address = match self.channel {
            Channel::Sms => AddressKind::Phone,
            Channel::Email => AddressKind::Email,
            _ => AddressKind::Member,
        };
        ChannelTraits { address, deduplicates: self.deduplicates, templates_only: false }
    }

    fn deliver<'a>(&'a self, message: &'a Message, now: Timestamp, _: [u8; 16]) -> BoxFuture<'a, Attempt> {
        Box::pin(async move {
            // Others get their turn, as with a real vendor.
            tokio::task::yield_now().await;
            if let Some(_waits) = self.world.wait(&self.slot) {
                std::future::pending::<()>().await;
            }
            let mut state = self.world.state();
            let told = state.script.get_mut(&self.slot).and_then(VecDeque::pop_front);
            let attempt = told.unwrap_or_else(|| Attempt::Accepted(Some(format!("v-{}", message.key))));
            state.calls.push(Call {
                slot: self.slot.clone(),
                key: message.key.clone(),
                to: message.to.clone(),
                text: message.text.clone(),
                link: message.unsubscribe_url.clone(),
                at: now,
                attempt: attempt.clone(),
            });
            attempt
        })
    }

    fn parse<'a>(&'a self, _: &'a Incoming, _: Timestamp, _: [u8; 16]) -> BoxFuture<'a, Result<Received, Unread>> {
        let report = self.world.state().reports.pop_front();
        Box::pin(async { report.unwrap_or_else(|| Err(Unread::Refused("nothing was told".to_owned()))) })
    }
}

/// A failure with a code.
pub(super) fn failure(code: &str) -> Failure {
    Failure { code: code.to_owned(), message: String::new() }
}

/// Services whose messages go to a [`World`].
pub(super) struct Reached {
    pub(super) fixture: Fixture,
    pub(super) world: Arc<World>,
    asked: std::sync::atomic::AtomicU64,
}

impl Reached {
    /// Over the model store; one provider for text messages and one for mail, both deduplicating.
    pub(super) async fn start(seed: u64) -> Self {
        Self::over(Fixture::model(seed).await)
    }

    /// Over any store.
    pub(super) fn over(mut fixture: Fixture) -> Self {
        let world = Arc::new(World::default());
        world.provide(Channel::Sms, &[("channel.sms", true)]);
        world.provide(Channel::Email, &[("channel.email", true)]);
        let outlets = Arc::new(TheWorld(Arc::clone(&world)));
        fixture.services.reach = Arc::new(Reach::new(Secrets::new(&[5; 32]), outlets, 24));
        Self { fixture, world, asked: std::sync::atomic::AtomicU64::new(0) }
    }

    /// Forgets what it works on, as a process that was killed does.
    pub(super) fn crash(&mut self) {
        let outlets = Arc::new(TheWorld(Arc::clone(&self.world)));
        self.fixture.services.reach =
            Arc::new(Reach::new(Secrets::new(&[5; 32]), outlets, self.fixture.services.settings.reach.per_channel));
    }

    /// A member with a number and an address that all members have.
    pub(super) async fn member(&self, external_id: &str, zone: Option<&str>) -> MemberId {
        self.member_at(external_id, zone, "+8613800138000", "wang@example.com").await
    }

    /// A member with this number and address.
    pub(super) async fn member_at(&self, external_id: &str, zone: Option<&str>, phone: &str, email: &str) -> MemberId {
        let profile = Profile {
            name: Some("王小明".to_owned()),
            phone: Some(phone.to_owned()),
            email: Some(email.to_owned()),
            birthday: None,
        };
        let external_id: ExternalId = external_id.parse().expect("an id");
        let zone = zone.map(str::to_owned);
        let new = NewMember { external_id: Some(external_id), profile, zone, ..NewMember::default() };
        let once = self.fixture.once();
        self.fixture.services.create_member(self.fixture.shop, once, new).await.expect("joins").value.id
    }

    /// An approved text.
    pub(super) async fn template(&self, code: &str, class: Class, channels: &[Channel]) {
        let services = &self.fixture.services;
        for channel in channels {
            let new = NewVariant {
                code: code.to_owned(),
                class,
                purpose: None,
                channels: Some(channels.to_vec()),
                channel: *channel,
                language: Language::ZhCn,
                vendor_template_id: None,
                signature: None,
                subject: (*channel == Channel::Email).then(|| "{{ product }}".to_owned()),
                text: "{{ member_name }}: {{ product }} 回R退订 {{ unsubscribe_url }}".to_owned(),
                variables: vec!["product".to_owned()],
            };
            let variant = services.write_template(self.fixture.operator, self.fixture.once(), new).await;
            let version = variant.expect("a text").value.version;
            let which = Decide { code: code.to_owned(), channel: *channel, language: Language::ZhCn, version };
            let once = self.fixture.once();
            services.decide_template(self.fixture.operator, once, which, Approval::Approved).await.expect("approves");
        }
    }

    /// Records a consent.
    pub(super) async fn consent(&self, member: MemberId, purpose: ConsentPurpose, channel: Channel, granted: bool) {
        let new = NewConsent {
            granted,
            text_version: "2026-03".to_owned(),
            evidence: Some("archive/1".to_owned()),
            source: "app".to_owned(),
        };
        let (services, shop) = (&self.fixture.services, self.fixture.shop);
        services.set_consent(shop, self.fixture.once(), member, (purpose, channel), new).await.expect("is recorded");
    }

    /// Asks for a touch, due now and for three days.
    pub(super) async fn ask(&self, member: MemberId, template: &str) -> TouchId {
        let number = self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.ask_as(member, template, &format!("key-{number}"), "维生素C").await
    }

    /// The same with a key and a product.
    pub(super) async fn ask_as(&self, member: MemberId, template: &str, dedupe: &str, product: &str) -> TouchId {
        let now = self.fixture.services.clock.now();
        let wanted = WantedTouch {
            member,
            template: template.to_owned(),
            variables: vec![("product".to_owned(), product.to_owned())],
            dedupe: dedupe.to_owned(),
            due: now,
            expires: now.checked_add(jiff::SignedDuration::from_hours(72)).expect("a time"),
        };
        let once = self.fixture.once();
        let asked = self.fixture.services.ask_touches(self.fixture.shop, once, vec![wanted]).await.expect("is asked");
        asked.value[0]
    }

    /// Works until nothing is due.
    pub(super) async fn deliver(&self) {
        self.fixture.services.deliver_due().await.expect("the store answers");
    }

    pub(super) async fn touch(&self, id: TouchId) -> Touch {
        self.fixture.services.touch(self.fixture.operator, id).await.expect("is there")
    }

    /// State and reason, for people.
    pub(super) async fn state(&self, id: TouchId) -> String {
        format!("{:?}", self.touch(id).await.state)
    }

    /// Every key that was carried, sorted, repeats and all.
    pub(super) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.world.calls().into_iter().map(|call| call.key).collect();
        keys.sort();
        keys
    }

    /// The keys that were carried at least once.
    pub(super) fn distinct(&self) -> HashSet<String> {
        self.keys().into_iter().collect()
    }
}
