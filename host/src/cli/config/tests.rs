use super::*;
use crate::plugin::Secret;

fn load(text: &str) -> anyhow::Result<Config> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("galenic.toml");
    std::fs::write(&file, text)?;
    Config::load(Some(&file), &Overrides::default())
}

fn check(text: &str, names: &str) {
    let error = load(text).expect_err(text);
    assert!(format!("{error:#}").contains(names), "{text}: {error:#}");
}

#[test]
fn defaults_are_sound_and_a_file_overrides_them() {
    assert_eq!(load("").expect("defaults"), Config::standard());
    let config = load("[programme]\nquote_minutes = 5\n").expect("a file");
    assert_eq!(config.programme.quote_minutes, 5);
    assert_eq!(config.programme.order_minutes, 30);
}

#[test]
fn a_flag_overrides_the_file() {
    let listen: SocketAddr = "127.0.0.1:1".parse().expect("an address");
    let overrides = Overrides { listen: Some(listen), data: Some("elsewhere".into()), ..Overrides::default() };
    let config = Config::load(None, &overrides).expect("flags");
    assert_eq!((config.server.listen, config.store.data), (listen, PathBuf::from("elsewhere")));
}

#[test]
fn a_wrong_key_is_named() {
    check("[server]\nlisten_to = \"x\"\n", "listen_to");
    check("[server]\nlisten = \"nowhere\"\n", "server.listen");
    check("[programme]\ncurrency = \"yuan\"\n", "programme.currency");
    check("[programme]\nzone = \"Moon/Base\"\n", "programme.zone");
    check("[programme]\nquote_minutes = -1\n", "programme.quote_minutes");
    check("[reach]\nquiet_from = \"late\"\n", "reach.quiet_from");
    check("[reach]\npublic_url = \"example.com/\"\n", "reach.public_url");
    check("[schedule]\nhour = 24\n", "schedule.hour");
    check("[schedule]\nmembers_per_second = 0\n", "schedule.members_per_second");
    check("[colour]\nred = 1\n", "colour");
    check("[server\n", "not TOML");
    check("[server]\nconnections_max = \"many\"\n", "server.connections_max");
    check("[store]\nreserve_mb = -5\n", "store.reserve_mb");
    check("[log]\nformat = \"xml\"\n", "xml");
    check("[plugins]\nsandboxes = 0\n", "plugins.sandboxes must be 1 to 1000");
}

#[test]
fn what_cannot_go_together_is_named_with_the_fix() {
    check("[store]\nwaiting_max = 10\ngroup_max = 20\n", "store.group_max must not be larger");
    check("[server]\nlisten = \"127.0.0.1:1\"\nmetrics_listen = \"127.0.0.1:1\"\n", "another address");
    check("[store]\ndata = \"\"\n", "store.data must name a directory");
    check("[store]\ncache_mb = 1\n[server]\nconnections_max = 0\n", "connections_max must be at least 1; store.cache");
}

/// `deploy/galenic.toml` shows every setting with its default.
#[test]
fn the_sample_says_what_the_defaults_are() {
    let sample = include_str!("../../../deploy/galenic.toml");
    assert_eq!(load(sample).expect("the sample is sound"), Config::standard());
    let settings = |text: &str| -> Vec<String> {
        let table: toml::Table = toml::from_str(text).expect("TOML");
        let keys = |(section, keys): (&String, &toml::Value)| {
            let keys = keys.as_table().expect("a section").keys();
            keys.map(|key| format!("{section}.{key}")).collect::<Vec<_>>()
        };
        table.iter().flat_map(keys).collect()
    };
    let standard = toml::to_string(&Config::standard()).expect("TOML");
    let (shown, known) = (settings(sample), settings(&standard));
    let missing: Vec<&String> = known.iter().filter(|key| !shown.contains(key)).collect();
    assert!(missing.is_empty(), "deploy/galenic.toml does not show {missing:?}");
    assert!(sample.contains("# metrics_listen ="), "what has no default is shown, too");
}

#[test]
fn an_smtp_server_is_checked_and_needs_its_password() {
    let server = "[smtp.care]\nhost = \"mail.example\"\nport = 587\ntls = \"starttls\"\nfrom = \"care@mail.example\"\n";
    check(&server.replace("care@mail.example", "nobody"), "smtp.care: from must be");
    check(&server.replace("starttls", "ssl"), "ssl");
    check(&format!("{server}username = \"care\"\n"), "username and password_secret go together");
    let config = load(&format!("{server}username = \"care\"\npassword_secret = \"care-mail\"\n")).expect("a server");
    let error = config.outbound(&Secrets::default()).expect_err("no password").to_string();
    assert!(error.contains("GALENIC_SECRET_CARE_MAIL"), "{error}");
    let outbound = BTreeMap::from([("care-mail".to_owned(), Secret::new("hush"))]);
    let outbound = config.outbound(&Secrets { outbound, ..Secrets::default() }).expect("a password");
    assert_eq!(outbound.smtp["care"].port, 587);
    assert!(!format!("{outbound:?}").contains("hush"));
}

#[test]
fn a_file_of_authorities_is_read_or_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let outbound = |setting: &str, name: &str| {
        let config = load(&format!("{setting} = [{:?}]\n", dir.path().join(name))).expect("TOML");
        config.outbound(&Secrets::default()).map_err(|error| format!("{error:#}"))
    };
    let mail =
        "[smtp.care]\nhost = \"mail.example\"\nport = 587\ntls = \"starttls\"\nfrom = \"care@mail.example\"\nca_files";
    for (name, text, expect) in [
        ("empty.pem", "", "it holds no `-----BEGIN CERTIFICATE-----`"),
        ("key.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "it holds no"),
        ("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n", "it is not PEM"),
        ("other.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 is none"),
    ] {
        std::fs::write(dir.path().join(name), text).expect("written");
        let error = outbound("[outbound]\nca_files", name).expect_err(expect);
        assert!(error.contains("outbound.ca_files") && error.contains(name) && error.contains(expect), "{error}");
    }
    let error = outbound(mail, "nowhere.pem").expect_err("there is none");
    assert!(error.contains("smtp.care.ca_files") && error.contains("nowhere.pem"), "{error}");
}

#[test]
fn secrets_never_show() {
    let outbound = BTreeMap::from([("sms-key".to_owned(), Secret::new("hush"))]);
    let secrets = Secrets { operator_key: Some("open sesame".to_owned()), master_key: Some([7; 32]), outbound };
    assert_eq!(format!("{secrets:?}"), r#"Secrets { operator_key: true, master_key: true, outbound: ["sms-key"] }"#);
    assert_eq!(key_bytes(&"0f".repeat(32)), Some([15; 32]));
    assert_eq!(key_bytes("0f"), None);
}
