//! The file's shape, as the parser sees it: every key that exists, none that does not, and no
//! check of what a value means. Spans are kept so that later findings can name their line.
//!
//! Every key is optional here, so that a missing one is reported beside all that is wrong.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use toml::Spanned;

/// A value that the file may leave out.
pub(super) type Field<T> = Option<Spanned<T>>;

/// A table within the file.
pub(super) type Section<T> = Spanned<Table<T>>;

/// The main file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) daemon: Option<Section<RawDaemon>>,
    pub(super) limits: Option<Section<RawLimits>>,
    #[serde(default)]
    pub(super) interface: Vec<Section<RawInterface>>,
    #[serde(default)]
    pub(super) service: Vec<Section<RawService>>,
}

/// A file of `conf.d`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDropIn {
    #[serde(default)]
    pub(super) service: Vec<Section<RawService>>,
}

/// `[daemon]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDaemon {
    pub(super) instance: Field<String>,
    pub(super) admin_socket: Field<String>,
    pub(super) bpffs: Field<String>,
    pub(super) state_dir: Field<String>,
    pub(super) on_stop: Field<String>,
    pub(super) seed: Field<String>,
    pub(super) tunnel_source_ipv4: Field<String>,
    pub(super) tunnel_source_ipv6: Field<String>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) services: Field<i64>,
    pub(super) backends: Field<i64>,
    pub(super) slots: Field<i64>,
    pub(super) flows_ipv4: Field<i64>,
    pub(super) flows_ipv6: Field<i64>,
}

/// `[[interface]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawInterface {
    pub(super) name: Field<String>,
    pub(super) xdp: Field<String>,
    pub(super) vlan: Field<bool>,
}

/// `[[service]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub(super) name: Field<String>,
    pub(super) listen: Field<Vec<Spanned<String>>>,
    pub(super) forward: Field<String>,
    pub(super) gue_port: Field<i64>,
    pub(super) scheduler: Field<String>,
    pub(super) table_size: Field<i64>,
    pub(super) hash: Field<String>,
    pub(super) source_prefix_ipv4: Field<i64>,
    pub(super) source_prefix_ipv6: Field<i64>,
    pub(super) tracking: Field<String>,
    pub(super) transition_window: Field<DurationText>,
    pub(super) flow_idle: Field<DurationText>,
    pub(super) on_death: Field<String>,
    pub(super) drain_timeout: Field<DurationText>,
    pub(super) slow_start: Field<DurationText>,
    #[serde(default)]
    pub(super) health: Vec<Section<RawHealth>>,
    #[serde(default)]
    pub(super) backend: Vec<Section<RawBackend>>,
}

/// `[[service.health]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHealth {
    pub(super) r#type: Field<String>,
    pub(super) path: Field<String>,
    pub(super) host: Field<String>,
    pub(super) expect_status: Field<Vec<Spanned<i64>>>,
    pub(super) interval: Field<DurationText>,
    pub(super) timeout: Field<DurationText>,
    pub(super) rise: Field<i64>,
    pub(super) fall: Field<i64>,
}

/// `[[service.backend]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBackend {
    pub(super) name: Field<String>,
    pub(super) address: Field<String>,
    pub(super) weight: Field<i64>,
}

/// A table and nothing else: serde would take an array too, by the order of the fields.
#[derive(Debug)]
pub(super) struct Table<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Table<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = Table<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Table<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Table)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

/// A string, where people like to write a number.
#[derive(Debug)]
pub(super) struct DurationText(pub(super) String);

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration in quotes such as \"1s\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<DurationText, E> {
                Ok(DurationText(text.to_owned()))
            }
        }

        deserializer.deserialize_str(Text)
    }
}
