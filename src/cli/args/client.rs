//! The options of `closecall client`.

use clap::Args;

use crate::cli::addresses::{Address, Endpoint};
use crate::cli::values::{self, End, Message};

/// The options of `closecall client`.
#[derive(Args, Debug)]
pub(in crate::cli) struct ClientArgs {
    /// The server to connect to. Of a name, the first address that answers is used.
    #[arg(value_name = "ADDR", value_parser = values::endpoint)]
    pub(in crate::cli) address: Option<Endpoint>,

    /// The message to send. Escapes: \r, \n, \t, \\ and \xNN for a byte.
    #[arg(long, value_name = "TEXT", default_value = "Hi,here is glp")]
    #[arg(value_parser = values::message, allow_hyphen_values = true)]
    pub(in crate::cli) message: Message,

    /// How to end the connection; `list` shows all modes.
    #[arg(long, value_name = "MODE", default_value = "close", value_parser = values::end)]
    pub(in crate::cli) end: End,

    /// How long to wait before the last step. Modes that end at once do not wait.
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = values::wait)]
    #[arg(allow_hyphen_values = true)]
    pub(in crate::cli) wait: u64,

    /// The number of connections, one after the other; a summary follows.
    #[arg(long, value_name = "N", default_value = "1", value_parser = values::count)]
    #[arg(allow_hyphen_values = true)]
    pub(in crate::cli) count: u32,

    /// The address of this machine to connect from. A link-local address without an interface
    /// (fe80::1, not fe80::1%eth0) uses the interface of the server's address.
    #[arg(long, value_name = "IP", value_parser = values::source, verbatim_doc_comment)]
    pub(in crate::cli) source: Option<Address>,
}
