//! What a profile may hold, and how it is changed.

use jiff::{
    civil::{Date, date},
    tz::TimeZone,
};

use crate::{
    domain::{
        member::{Member, Profile},
        touch::Language,
    },
    service::check::Checks,
};

/// Characters of a name.
const NAME_CHARS_MAX: usize = 64;
/// The longest address for mail there is.
const EMAIL_BYTES_MAX: usize = 254;
/// No name of a zone is longer.
const ZONE_BYTES_MAX: usize = 64;
/// Nobody alive is older.
const BIRTHDAY_MIN: Date = date(1900, 1, 1);

/// What becomes of one field.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Absent from the request: it stays.
    #[default]
    Keep,
    /// Null: it goes.
    Clear,
    /// A value: it takes its place.
    Set(T),
}

impl<T> Change<T> {
    fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }

    fn as_set(&self) -> Option<&T> {
        if let Self::Set(value) = self { Some(value) } else { None }
    }
}

impl<T> From<Option<Option<T>>> for Change<T> {
    /// Absent, null or a value, as JSON has it.
    fn from(field: Option<Option<T>>) -> Self {
        match field {
            None => Self::Keep,
            Some(None) => Self::Clear,
            Some(Some(value)) => Self::Set(value),
        }
    }
}

/// A change of personal data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProfileChange {
    /// Of the name.
    pub name: Change<String>,
    /// Of the telephone number.
    pub phone: Change<String>,
    /// Of the address for mail.
    pub email: Change<String>,
    /// Of the birthday.
    pub birthday: Change<Date>,
    /// Of the zone they live in; no personal data, it lies in the member's own row.
    pub zone: Change<String>,
    /// Of the language they read; likewise.
    pub language: Change<Language>,
    /// Whether the partner has seen that the phone, as it is then, is theirs.
    pub phone_verified: bool,
}

impl ProfileChange {
    /// Changes a profile.
    pub(super) fn apply(self, profile: &mut Profile) {
        self.name.apply(&mut profile.name);
        self.phone.apply(&mut profile.phone);
        self.email.apply(&mut profile.email);
        self.birthday.apply(&mut profile.birthday);
    }

    /// Changes what lies in the member's own row.
    pub(super) fn apply_open(self, member: &mut Member) {
        self.zone.apply(&mut member.zone);
        self.language.apply(&mut member.language);
    }
}

/// Notes a zone that there is not.
pub(super) fn check_zone(checks: &mut Checks, zone: Option<&str>) {
    let known = zone.is_none_or(|zone| zone.len() <= ZONE_BYTES_MAX && TimeZone::get(zone).is_ok());
    checks.require(known, "/zone", "must be an IANA time zone, like Asia/Shanghai");
}

/// Notes every wrong field of a profile. Messages never repeat what a field holds.
pub(super) fn check(checks: &mut Checks, profile: &Profile, today: Date) {
    check_fields(
        checks,
        [&profile.name, &profile.phone, &profile.email].map(Option::as_deref),
        profile.birthday,
        today,
    );
}

/// Notes a phone that is said to be verified and is not there.
pub(super) fn check_verified(checks: &mut Checks, profile: &Profile, verified: bool) {
    let there = !verified || profile.phone.is_some();
    checks.require(there, "/phone_verified", "there is no phone to be verified: send it, too, or leave this out");
}

/// Notes every wrong field of a change.
pub(super) fn check_change(checks: &mut Checks, change: &ProfileChange, today: Date) {
    let texts = [&change.name, &change.phone, &change.email].map(|change| change.as_set().map(String::as_str));
    check_fields(checks, texts, change.birthday.as_set().copied(), today);
    check_zone(checks, change.zone.as_set().map(String::as_str));
}

fn check_fields(checks: &mut Checks, [name, phone, email]: [Option<&str>; 3], birthday: Option<Date>, today: Date) {
    if let Some(name) = name {
        checks.text("/profile/name", name, NAME_CHARS_MAX);
    }
    if let Some(phone) = phone {
        let message =
            "must be in E.164 form: `+`, the country code and the number, 7 to 15 digits, like +8613800138000";
        checks.require(is_e164(phone), "/profile/phone", message);
    }
    if let Some(email) = email {
        checks.require(
            is_plausible_email(email),
            "/profile/email",
            "must be an address for mail, like name@example.com",
        );
    }
    if let Some(birthday) = birthday {
        let fits = (BIRTHDAY_MIN..=today).contains(&birthday);
        checks.require(fits, "/profile/birthday", format!("must be from {BIRTHDAY_MIN} to today, {today}"));
    }
}

fn is_e164(phone: &str) -> bool {
    let Some(digits) = phone.strip_prefix('+') else { return false };
    (7..=15).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// One `@`, something before it, a domain with a dot behind it. Whether mail arrives only mail can tell.
fn is_plausible_email(email: &str) -> bool {
    let Some((local, domain)) = email.split_once('@') else { return false };
    let visible = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let local_fits = (1..=64).contains(&local.len()) && !local.starts_with('.') && !local.ends_with('.');
    visible && email.len() <= EMAIL_BYTES_MAX && local_fits && domain.contains('.') && domain.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::Error;

    const TODAY: Date = date(2026, 3, 1);

    fn wrong_fields(profile: &Profile) -> Vec<String> {
        let mut checks = Checks::default();
        check(&mut checks, profile, TODAY);
        match checks.finish() {
            Ok(()) => Vec::new(),
            Err(Error::Invalid(fields)) => fields.into_iter().map(|field| field.pointer).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let profile = Profile {
            name: Some(" ".into()),
            phone: Some("13800138000".into()),
            email: Some("nobody".into()),
            birthday: Some(date(2026, 3, 2)),
        };
        let all = ["/profile/name", "/profile/phone", "/profile/email", "/profile/birthday"];
        assert_eq!(wrong_fields(&profile), all);
        assert_eq!(wrong_fields(&Profile::default()), Vec::<String>::new());
    }

    #[test]
    fn names_and_birthdays() {
        let named = |name: &str| wrong_fields(&Profile { name: Some(name.into()), ..Profile::default() }).is_empty();
        assert!(named("王小明") && named(&"明".repeat(64)) && !named(&"明".repeat(65)) && !named("a\nb") && !named(""));
        let born = |birthday| wrong_fields(&Profile { birthday: Some(birthday), ..Profile::default() }).is_empty();
        assert!(born(TODAY) && born(BIRTHDAY_MIN) && !born(date(1899, 12, 31)));
    }

    #[test]
    fn phones() {
        for good in ["+8613800138000", "+14155550100", "+4930123"] {
            assert!(is_e164(good), "{good}");
        }
        for bad in ["", "+", "13800138000", "+0138001380", "+86 138", "+1234567890123456", "+123456", "+86١٢٣٤٥٦"]
        {
            assert!(!is_e164(bad), "{bad}");
        }
    }

    #[test]
    fn addresses() {
        for good in ["a@b.cn", "first.last+tag@mail.example.com", "名@例子.测试"] {
            assert!(is_plausible_email(good), "{good}");
        }
        for bad in ["", "a", "@b.cn", "a@", "a@b", "a@@b.cn", "a@b..cn", "a@-b.cn", "a b@c.cn", ".a@b.cn", "a@b.cn\r\n"]
        {
            assert!(!is_plausible_email(bad), "{bad}");
        }
    }

    #[test]
    fn absent_stays_and_null_goes() {
        let mut profile =
            Profile { name: Some("a".into()), phone: Some("+8613800138000".into()), ..Profile::default() };
        let change = ProfileChange { name: Change::Clear, birthday: Change::Set(TODAY), ..ProfileChange::default() };
        change.apply(&mut profile);
        assert!(
            profile == Profile { phone: Some("+8613800138000".into()), birthday: Some(TODAY), ..Profile::default() }
        );
    }
}
