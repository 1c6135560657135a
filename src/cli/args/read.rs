//! The options of `closecall read`.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::values::{self, Only};
use crate::wire::Role;

/// The options of `closecall read`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ReadArgs {
    /// Captures: pcap or pcapng, also compressed with gzip; - is stdin. Several files are read
    /// together, in the order of their packets' times.
    #[arg(value_name = "FILE", required = true, verbatim_doc_comment)]
    pub(in crate::cli) files: Vec<PathBuf>,

    /// Which end is ours: the verdict is told from its side.
    #[arg(long = "as", value_name = "server|client", default_value = "server")]
    #[arg(value_enum, hide_possible_values = true)]
    pub(in crate::cli) role: Role,

    /// Show only connections to or from this port. If the beginning of a connection was not
    /// captured, the end with this port is the server.
    #[arg(long, value_name = "N", value_parser = values::port, verbatim_doc_comment)]
    #[arg(allow_hyphen_values = true)]
    pub(in crate::cli) port: Option<u16>,

    /// Show only connections with these verdicts: a name such as peer_reset.stale, or a family such
    /// as peer_reset.
    #[arg(long, value_name = "VERDICT[,VERDICT]", value_parser = values::only)]
    #[arg(value_delimiter = ',', verbatim_doc_comment)]
    pub(in crate::cli) only: Vec<Only>,

    /// Show the number of connections by verdict and by peer, instead of each connection.
    #[arg(long, action = ArgAction::SetTrue)]
    pub(in crate::cli) summary: bool,

    /// The most connections that are kept at a time. Beyond it, the one that has been idle for the
    /// longest time is reported as unseen.
    #[arg(long, value_name = "N", default_value = "262144", verbatim_doc_comment)]
    #[arg(value_parser = values::flows, allow_hyphen_values = true)]
    pub(in crate::cli) max_flows: usize,

    /// Print one line a connection, or JSON lines with the fields of the close log
    /// (docs/close-log.schema.json).
    #[arg(long, value_name = "table|json", default_value = "table", verbatim_doc_comment)]
    #[arg(value_enum, hide_possible_values = true)]
    pub(in crate::cli) format: ReadFormat,
}

/// What `--format` of `read` stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(in crate::cli) enum ReadFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
}
