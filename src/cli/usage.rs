//! Usage errors: each error of clap as one line with the option or variable, its value, and what is
//! allowed.

use std::env;
use std::error::Error as _;
use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error};

use super::args::Cli;

/// The most characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 60;

/// The line about `error`, the result of parsing `arguments`.
pub(super) fn line(error: &Error, arguments: &[OsString]) -> String {
    let help = match arguments.get(1).and_then(|first| first.to_str()) {
        Some("serve") => "see closecall serve --help",
        Some("client") => "see closecall client --help",
        Some("lab") => "see closecall lab --help",
        Some("load") => "see closecall load --help",
        Some("read") => "see closecall read --help",
        _ => "see closecall --help",
    };
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    match (error.kind(), text(error, ContextKind::InvalidArg)) {
        (ErrorKind::InvalidUtf8, _) => {
            format!("{} is not valid UTF-8; {help}", not_utf8(arguments))
        }
        (ErrorKind::ValueValidation, Some(option)) => {
            let expected = error.source().map_or_else(|| help.to_owned(), ToString::to_string);
            format!("{} {}: {expected}", named(&option, arguments), shown(&value))
        }
        (ErrorKind::InvalidValue, Some(option)) => not_allowed(error, &option, arguments, help),
        (ErrorKind::UnknownArgument, Some(argument)) if argument.starts_with('-') => {
            if let Some(others) = modes_with(&argument, arguments) {
                return format!("{argument} is an option of {others}; {help}");
            }
            let similar = text(error, ContextKind::SuggestedArg)
                .map_or_else(String::new, |similar| format!(", did you mean {similar}"));
            format!("unknown option {}{similar}; {help}", shown(&argument))
        }
        (ErrorKind::UnknownArgument, Some(argument)) => {
            format!("unexpected argument {}; {help}", shown(&argument))
        }
        (ErrorKind::TooManyValues, Some(option)) => {
            format!("{} {}: expected no value", named(&option, arguments), shown(&value))
        }
        (ErrorKind::ArgumentConflict, Some(option)) => {
            match text(error, ContextKind::PriorArg).filter(|other| *other != option) {
                Some(other) => {
                    let (option, other) = (name(&option), name(&other));
                    format!("{option} and {other} cannot be used together; leave one out")
                }
                None => format!("{} is given more than once; give it once", name(&option)),
            }
        }
        (ErrorKind::MissingRequiredArgument, Some(argument)) => {
            format!("{} is missing; {help}", name(argument.trim_start_matches('<')))
        }
        (ErrorKind::MissingSubcommand, _)
        | (ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand, _) => {
            format!("a subcommand is missing: expected {}; {help}", subcommands(arguments))
        }
        (ErrorKind::InvalidSubcommand, _) => {
            let given = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let expected = subcommands(arguments);
            format!("unknown subcommand {}: expected {expected}; {help}", shown(&given))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}; {help}", first.trim_start_matches("error: "))
        }
    }
}

/// The line about a value that is not allowed, or about a missing value.
fn not_allowed(error: &Error, option: &str, arguments: &[OsString], help: &str) -> String {
    let (name, value) = (named(option, arguments), text(error, ContextKind::InvalidValue));
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(all)) if !is_missing(option, arguments) => {
            format!("{name} {}: expected {}", shown(&value.unwrap_or_default()), one_of(all))
        }
        _ => format!("{name} needs a value: {option}; {help}"),
    }
}

fn text(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::Strings(all) => all.first().cloned(),
        value => Some(value.to_string()),
    }
}

/// Whether the option is the last argument, or another option follows it. clap reports that as an
/// empty value.
fn is_missing(option: &str, arguments: &[OsString]) -> bool {
    let Some(at) = arguments.iter().position(|argument| argument == name(option)) else {
        return false;
    };
    arguments.get(at + 1).is_none_or(|next| next.as_encoded_bytes().starts_with(b"--"))
}

/// "table, json or markdown". Only a path has no list of values; the error is then that it is
/// empty.
fn one_of(all: &[String]) -> String {
    match all.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        None => "a path that is not empty".to_owned(),
        _ => all.concat(),
    }
}

/// `--listen` of `--listen <ADDR>`, `ADDR` of `[ADDR]`.
fn name(option: &str) -> &str {
    option.trim_start_matches('[').split([' ', '=', '[', ']', '>']).next().unwrap_or(option)
}

/// The option, or the environment variable if the value came from there, that is, if the option is
/// not among the arguments.
fn named(option: &str, arguments: &[OsString]) -> String {
    let name = name(option);
    let given = arguments.iter().filter_map(|argument| argument.to_str()).any(|argument| {
        argument.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    });
    match variables().find(|(long, _)| !given && name.strip_prefix("--") == Some(long)) {
        Some((_, variable)) => format!("{} (for {name})", variable.to_string_lossy()),
        None => name.to_owned(),
    }
}

/// Each option of each subcommand with its variable.
fn variables() -> impl Iterator<Item = (String, OsString)> {
    let command = Cli::command();
    let pairs: Vec<_> = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|option| Some((option.get_long()?.to_owned(), option.get_env()?.to_owned())))
        .collect();
    pairs.into_iter()
}

/// The names of the subcommands of the program, or of the given subcommand if it has its own.
fn subcommands(arguments: &[OsString]) -> String {
    let program = Cli::command();
    let first = arguments.get(1).and_then(|first| program.find_subcommand(first));
    let command = first.filter(|command| command.has_subcommands()).unwrap_or(&program);
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.map(clap::Command::get_name).collect::<Vec<_>>().join(", ")
}

/// The other modes of the same subcommand that have this option, such as "echo or churn".
fn modes_with(option: &str, arguments: &[OsString]) -> Option<String> {
    let program = Cli::command();
    let command = program.find_subcommand(arguments.get(1)?)?;
    let long = option.strip_prefix("--")?;
    let has = |mode: &&clap::Command| mode.get_arguments().any(|it| it.get_long() == Some(long));
    let modes: Vec<_> =
        command.get_subcommands().filter(has).map(|mode| mode.get_name().to_owned()).collect();
    (!modes.is_empty()).then(|| one_of(&modes))
}

/// The argument or variable that is not UTF-8.
fn not_utf8(arguments: &[OsString]) -> String {
    let is_text = |value: &OsStr| value.to_str().is_some();
    if let Some(argument) = arguments.iter().find(|argument| !is_text(argument)) {
        return format!("argument {}", shown(&argument.to_string_lossy()));
    }
    for (_, variable) in variables() {
        if let Some(value) = env::var_os(&variable).filter(|value| !is_text(value)) {
            let variable = variable.to_string_lossy();
            return format!("{variable} {}", shown(&value.to_string_lossy()));
        }
    }
    "an argument".to_owned()
}

/// A value in quotes, escaped and cut: it may contain anything.
fn shown(value: &str) -> String {
    let mut shown: String =
        value.chars().take(SHOWN_CHARS_MAX).flat_map(char::escape_debug).collect();
    if value.chars().count() > SHOWN_CHARS_MAX {
        shown.push('…');
    }
    format!("'{shown}'")
}
