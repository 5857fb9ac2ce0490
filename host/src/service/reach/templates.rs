//! Templates as operators write, approve and try them.

use jiff::Timestamp;

use crate::{
    domain::touch::{Channel, Class, ConsentPurpose, Language},
    ids::KeyId,
    reach::{
        tables::{HEADS, TEMPLATES, VARIANTS},
        template::{Approval, BUILT_IN, Rendered, TEXT_BYTES_MAX, Template, TemplateError, VARIABLES_MAX, Variant},
    },
    service::{Caller, Done, Error, FieldError, Idempotency, Page, PageRequest, Services, check::Checks},
    store::{Scan, StoreError, Tx},
};

const NAME_CHARS_MAX: usize = 64;

/// A new version of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewVariant {
    /// The code of its template; made where there is none.
    pub code: String,
    /// The template's class; all texts of a code have the same.
    pub class: Class,
    /// The consent it needs beyond its class's.
    pub purpose: Option<ConsentPurpose>,
    /// The template's channels from now on, the preferred first; this text's channel goes last where it is not said.
    pub channels: Option<Vec<Channel>>,
    /// Where it goes.
    pub channel: Channel,
    /// In which language.
    pub language: Language,
    /// The vendor's id of the template.
    pub vendor_template_id: Option<String>,
    /// The sender's signature.
    pub signature: Option<String>,
    /// The subject's source.
    pub subject: Option<String>,
    /// The text's source.
    pub text: String,
    /// The variables that must be given.
    pub variables: Vec<String>,
}

/// Which version is decided on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    /// The template.
    pub code: String,
    /// The text.
    pub channel: Channel,
    /// The text.
    pub language: Language,
    /// The version.
    pub version: u32,
}

/// What to try a text with.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The version; nothing has to be approved.
    pub which: Decide,
    /// By name.
    pub variables: Vec<(String, String)>,
}

impl Services {
    /// Writes a draft: the next version of a text. The approved one goes out until another is approved.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for every wrong field; what is wrong with a source names the template, line and variable.
    pub async fn write_template(
        &self,
        caller: Caller,
        once: Idempotency,
        new: NewVariant,
    ) -> Result<Done<Variant>, Error> {
        check(&new)?;
        let now = self.clock.now();
        let draft = draft(&new, caller.key, now);
        draft.check().map_err(|error| broken(&error))?;
        let run = self.store.run(now, move |tx| once.once(tx, |tx| write(tx, &new, draft.clone())));
        run.await
    }

    /// Approves or rejects a version. An approved one goes out at once, in place of the one before.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Invalid`] if it was decided otherwise before.
    pub async fn decide_template(
        &self,
        caller: Caller,
        once: Idempotency,
        which: Decide,
        approval: Approval,
    ) -> Result<Done<Variant>, Error> {
        let now = self.clock.now();
        let run = self.store.run(now, move |tx| {
            once.once(tx, |tx| {
                let mut variant = known(tx, &which)?;
                if variant.approval == Approval::Rejected && approval == Approval::Approved {
                    return Err(Error::field("/version", "was rejected: write a new version"));
                }
                variant.approval = approval;
                (variant.decided_by, variant.decided_at) = (Some(caller.key), Some(now));
                let key = (which.code.clone(), which.channel, which.language);
                let mut head = tx.get(&HEADS, &key)?.unwrap_or_default();
                head.approved = match approval {
                    Approval::Approved => Some(which.version),
                    _ => head.approved.filter(|approved| *approved != which.version),
                };
                tx.put(&HEADS, &key, &head)?;
                tx.put(&VARIANTS, &(key.0, key.1, key.2, which.version), &variant)?;
                Ok(variant)
            })
        });
        run.await
    }

    /// Renders a version with these values; approved or not.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`]; [`Error::Invalid`] if it does not render.
    pub async fn preview_template(&self, preview: Preview) -> Result<Rendered, Error> {
        let which = preview.which.clone();
        let variant = self.store.read(move |tx| known(tx, &which)).await?;
        let link = format!("{}/u/…", self.settings.reach.public_url);
        variant.render(&preview.variables, "", &link).map_err(|error| broken(&error))
    }

    /// All templates, by code.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] for a bad page.
    pub async fn list_templates(&self, page: PageRequest) -> Result<Page<Template>, Error> {
        let read = self.store.read(move |tx| {
            let rows = tx.scan(&TEMPLATES, &page.scan(Scan::all())?)?;
            Ok::<_, Error>(page.page(rows)?.map(|(_, template)| template))
        });
        read.await
    }

    /// Every version of every text of a template.
    ///
    /// # Errors
    ///
    /// [`Error::Unknown`], [`Error::Invalid`] for a bad page.
    pub async fn template_versions(&self, code: &str, page: PageRequest) -> Result<Page<Variant>, Error> {
        let code = code.to_owned();
        let read = self.store.read(move |tx| {
            tx.get(&TEMPLATES, &code)?.ok_or_else(|| Error::unknown("template", &code))?;
            let rows = tx.scan(&VARIANTS, &page.scan(Scan::prefix(&code))?)?;
            Ok::<_, Error>(page.page(rows)?.map(|(_, variant)| variant))
        });
        read.await
    }
}

fn check(new: &NewVariant) -> Result<(), Error> {
    let mut checks = Checks::default();
    let name = |text: &str| {
        let bytes = text.bytes();
        (1..=NAME_CHARS_MAX).contains(&text.len())
            && bytes.clone().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    checks.require(name(&new.code), "/code", "must be 1 to 64 lower-case letters, digits and hyphens");
    let optional = [("/vendor_template_id", &new.vendor_template_id), ("/signature", &new.signature)];
    for (pointer, text) in optional {
        if let Some(text) = text {
            checks.text(pointer, text, NAME_CHARS_MAX);
        }
    }
    let fits = !new.text.trim().is_empty() && new.text.len() <= TEXT_BYTES_MAX;
    checks.require(fits, "/text", format!("must be 1 to {TEXT_BYTES_MAX} bytes, not blank"));
    checks.require(new.variables.len() <= VARIABLES_MAX, "/variables", format!("are at most {VARIABLES_MAX}"));
    for (at, variable) in new.variables.iter().take(VARIABLES_MAX).enumerate() {
        let letters = variable.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let first = variable.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        let fits = letters && first && variable.len() <= NAME_CHARS_MAX;
        checks.require(fits, format!("/variables/{at}"), "must be letters, digits and `_`, a letter first");
        checks.require(
            !BUILT_IN.contains(&variable.as_str()) && !new.variables[..at].contains(variable),
            format!("/variables/{at}"),
            "is there already",
        );
    }
    if let Some(channels) = &new.channels {
        checks.require(channels.contains(&new.channel), "/channels", "must hold this text's channel");
        let once = (1..channels.len()).all(|at| !channels[..at].contains(&channels[at]));
        checks.require(once, "/channels", "must not repeat a channel");
    }
    let needs_subject =
        new.channel == Channel::Email && new.subject.as_deref().is_none_or(|text| text.trim().is_empty());
    checks.require(!needs_subject, "/subject", "is needed in a mail");
    if matches!(new.class, Class::Content | Class::Marketing) {
        says_how_to_stop(&mut checks, new);
    }
    checks.finish()
}

/// A working way out stands in every message that sells: the link, or for a text message the reply.
fn says_how_to_stop(checks: &mut Checks, new: &NewVariant) {
    let link = new.text.contains("unsubscribe_url");
    let reply = new.text.contains("退订") || new.text.to_lowercase().contains("reply r ");
    match new.channel {
        Channel::Sms => checks.require(
            link || reply,
            "/text",
            "must say how to stop it: `回R退订`, `reply R to stop`, or `{{ unsubscribe_url }}`",
        ),
        Channel::Email => checks.require(link, "/text", "must hold the link that stops it: `{{ unsubscribe_url }}`"),
        Channel::Webhook | Channel::Wechat | Channel::App => {}
    }
}

fn draft(new: &NewVariant, by: KeyId, at: Timestamp) -> Variant {
    Variant {
        code: new.code.clone(),
        channel: new.channel,
        language: new.language,
        version: 0,
        vendor_template_id: new.vendor_template_id.clone(),
        signature: new.signature.clone(),
        subject: new.subject.clone(),
        text: new.text.clone(),
        variables: new.variables.clone(),
        approval: Approval::Draft,
        written_by: by,
        written_at: at,
        decided_by: None,
        decided_at: None,
    }
}

fn write(tx: &mut Tx<'_>, new: &NewVariant, mut variant: Variant) -> Result<Variant, Error> {
    let template = match tx.get(&TEMPLATES, &new.code)? {
        Some(template) if template.class != new.class => {
            return Err(Error::field("/class", format!("is {} for all texts of this code", template.class)));
        }
        Some(template) if template.purpose != new.purpose => {
            return Err(Error::field("/purpose", "is another one for all texts of this code"));
        }
        Some(template) => template,
        None => Template { code: new.code.clone(), class: new.class, purpose: new.purpose, channels: Vec::new() },
    };
    let mut template = template;
    match &new.channels {
        Some(channels) => template.channels.clone_from(channels),
        None if !template.channels.contains(&new.channel) => template.channels.push(new.channel),
        None => {}
    }
    tx.put(&TEMPLATES, &new.code, &template)?;
    let key = (new.code.clone(), new.channel, new.language);
    let mut head = tx.get(&HEADS, &key)?.unwrap_or_default();
    head.latest = head.latest.saturating_add(1);
    variant.version = head.latest;
    tx.put(&HEADS, &key, &head)?;
    tx.put(&VARIANTS, &(key.0, key.1, key.2, variant.version), &variant)?;
    Ok(variant)
}

fn known(tx: &mut Tx<'_>, which: &Decide) -> Result<Variant, Error> {
    let found: Result<_, StoreError> =
        tx.get(&VARIANTS, &(which.code.clone(), which.channel, which.language, which.version));
    found?.ok_or_else(|| {
        let Decide { code, channel, language, version } = which;
        Error::unknown("template", format!("{code} ({channel}, {language}) version {version}"))
    })
}

/// A source that is wrong, as a field that is wrong.
fn broken(error: &TemplateError) -> Error {
    Error::Invalid(vec![FieldError::new(format!("/{}", error.part), error.to_string())])
}
