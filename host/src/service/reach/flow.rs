//! The stream of deliveries: as soon as one ends the next begins, so many at one time in all and so many of one channel,
//! so that a vendor who answers slowly or never keeps nobody waiting but its own channel.
//!
//! One look goes through the queue page by page. What it finds waits here by channel, a bounded number of each; what there
//! is no room for stays in the queue and is found by the next look.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::deliver::End;
use crate::{
    domain::touch::Channel,
    ids::TouchId,
    reach::{
        tables::TOUCHES,
        touch::{self, Touch},
    },
    service::{Error, Services},
};

/// The queue is looked at this often while it is empty.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Rows of the queue that are read together, at most.
const PAGE_ROWS: usize = 500;
/// Pages read between two ticks: a channel whose queue is long does not keep the store busy.
const PAGES_A_TICK: usize = 8;
/// Touches of one channel that wait here.
const WAITING_MAX: usize = 500;

/// A row of the queue: since when, and which.
type Place = (Timestamp, TouchId);

/// Rows of the queue in their order.
struct Page {
    rows: Vec<(Place, Channel)>,
    /// The last one, if more may follow.
    more_after: Option<Place>,
    /// Whether the page begins where the queue does.
    first: bool,
}

enum Event {
    Page(Result<Page, Error>),
    Ended(TouchId, Channel, Result<End, Error>),
}

/// Where the look through the queue stands.
#[derive(Clone, Copy)]
enum Look {
    /// At its end.
    Over,
    /// The next page begins here; `None` is the queue's beginning.
    After(Option<Place>),
    /// A page is being read.
    Reading,
}

/// What is read, waits and runs.
struct Flow<'a> {
    services: &'a Services,
    work: FuturesUnordered<BoxFuture<'a, Event>>,
    running: usize,
    waiting: BTreeMap<Channel, VecDeque<TouchId>>,
    /// Those that wait or run: a look finds them again.
    known: HashSet<TouchId>,
    /// Channels of which more is due than may wait.
    left: BTreeSet<Channel>,
    look: Look,
    pages: usize,
    seen: usize,
    moved: usize,
}

impl Services {
    /// Delivers what is due as it becomes due, until told to stop; then nothing more begins, and this returns when the
    /// attempts under way have ended, each within its deadline. What fails stays and does not stop the others.
    pub async fn deliver_always(&self, mut stopped: watch::Receiver<bool>) {
        let mut flow = Flow::new(self, PAGES_A_TICK);
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => flow.look_again(PAGES_A_TICK),
                Some(event) = flow.work.next() => {
                    if let Err(error) = flow.on(event) {
                        tracing::error!(%error, "the queue of touches cannot be read");
                    }
                }
                _ = stopped.wait_for(|stopped| *stopped) => break,
            }
            flow.begin();
        }
        while flow.work.next().await.is_some() {}
    }

    /// Delivers everything that is due now, and what becomes due by that; how many touches moved. A touch that fails
    /// stays.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn deliver_due(&self) -> Result<usize, Error> {
        let mut flow = Flow::new(self, usize::MAX);
        let mut moved = 0;
        loop {
            flow.begin();
            while let Some(event) = flow.work.next().await {
                flow.on(event)?;
                flow.begin();
            }
            match std::mem::take(&mut flow.moved) {
                0 => return Ok(moved),
                more => moved += more,
            }
            flow.look_again(usize::MAX);
        }
    }

    /// A page of the queue.
    async fn due_page(&self, after: Option<Place>) -> Result<Page, Error> {
        let now = self.clock.now();
        let read = self.store.peek(move |tx| {
            let (due, more) = touch::due(tx, now, after, PAGE_ROWS)?;
            let ids: Vec<TouchId> = due.iter().map(|(_, id)| *id).collect();
            Ok::<_, Error>((due, more, tx.get_many(&TOUCHES, &ids)?))
        });
        let (due, more, touches) = read.await?;
        if let (None, oldest) = (after, due.first()) {
            let overdue = oldest.map_or(0.0, |(since, _)| now.duration_since(*since).as_secs_f64());
            metrics::gauge!("galenic_touch_queue_overdue_seconds").set(overdue);
        }
        let more_after = due.last().copied().filter(|_| more);
        let channel = |(place, touch): (Place, Option<Touch>)| Some((place, touch?.channel));
        let rows = due.into_iter().zip(touches).filter_map(channel).collect();
        Ok(Page { rows, more_after, first: after.is_none() })
    }
}

impl<'a> Flow<'a> {
    fn new(services: &'a Services, pages: usize) -> Self {
        Self {
            services,
            work: FuturesUnordered::new(),
            running: 0,
            waiting: BTreeMap::new(),
            known: HashSet::new(),
            left: BTreeSet::new(),
            look: Look::After(None),
            pages,
            seen: 0,
            moved: 0,
        }
    }

    /// Looks at the queue again from its beginning, if the last look is over.
    fn look_again(&mut self, pages: usize) {
        self.pages = pages;
        if matches!(self.look, Look::Over) {
            self.look = Look::After(None);
        }
    }

    /// Begins what there is room for.
    fn begin(&mut self) {
        let services = self.services;
        if let (Look::After(after), 1..) = (self.look, self.pages) {
            (self.look, self.pages) = (Look::Reading, self.pages - 1);
            self.work.push(Box::pin(async move { Event::Page(services.due_page(after).await) }));
        }
        for (channel, waiting) in &mut self.waiting {
            while self.running < services.settings.reach.at_once && !waiting.is_empty() {
                let Some(lane) = services.reach.lane(*channel) else { break };
                let (Some(id), channel) = (waiting.pop_front(), *channel) else { break };
                self.running += 1;
                self.work.push(Box::pin(async move {
                    let ended = services.deliver_one(id, channel, lane).await;
                    Event::Ended(id, channel, ended)
                }));
            }
        }
    }

    fn on(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Page(Ok(page)) => self.take(page),
            Event::Page(Err(error)) => {
                self.look = Look::Over;
                return Err(error);
            }
            Event::Ended(id, channel, ended) => {
                self.running -= 1;
                self.known.remove(&id);
                match ended {
                    Ok(End::Moved) => self.moved += 1,
                    Ok(End::Stays) => {}
                    Ok(End::Full(other)) => self.wait(id, other),
                    Err(error) => tracing::error!(touch = %id, %error, "a touch failed and stays"),
                }
                // More of this channel stayed in the queue than could wait here, before where the look is now.
                if self.waiting.get(&channel).is_none_or(VecDeque::is_empty) && self.left.remove(&channel) {
                    self.look_again(self.pages);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, page: Page) {
        self.seen = if page.first { 0 } else { self.seen } + page.rows.len();
        metrics::gauge!("galenic_touch_queue_due").set(f64::from(u32::try_from(self.seen).unwrap_or(u32::MAX)));
        for ((_, id), channel) in page.rows {
            self.wait(id, channel);
        }
        self.look = page.more_after.map_or(Look::Over, |last| Look::After(Some(last)));
    }

    /// Lets a touch wait for room, if there is room to wait.
    fn wait(&mut self, id: TouchId, channel: Channel) {
        let waiting = self.waiting.entry(channel).or_default();
        if waiting.len() == WAITING_MAX {
            self.left.insert(channel);
        } else if self.known.insert(id) {
            waiting.push_back(id);
        }
    }
}
