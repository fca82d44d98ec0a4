//! The words that flags take for values of the rooms below, which know nothing of flags.

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::access::Role;
use crate::telemetry::{LogFormat, MetricsAccess};

impl ValueEnum for Role {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Viewer, Self::Operator, Self::Admin]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Viewer => "Reads",
            Self::Operator => "Batches",
            Self::Admin => "Panels, users and tokens",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

impl ValueEnum for LogFormat {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Text, Self::Json]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Text => PossibleValue::new("text").help("For people"),
            Self::Json => PossibleValue::new("json").help("One JSON object a line"),
        })
    }
}

impl ValueEnum for MetricsAccess {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Local, Self::Token, Self::Open]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Local => {
                PossibleValue::new("local").help("Whoever asks from this machine, and whoever shows a token")
            }
            Self::Token => PossibleValue::new("token").help("Whoever shows a token"),
            Self::Open => PossibleValue::new("open").help("Anybody"),
        })
    }
}
