//! Promise: each line of the close log, however its connection ended, is as the schema says, and
//! the schema would notice if it were not.
#![cfg(all(unix, feature = "cli"))]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use closecall::Record;
use jsonschema::Validator;
use serde_json::{Value, json};
use socket2::{Domain, SockRef, Socket, Type};

use crate::process::{self, Process, closecall};

const MESSAGE: &[u8] = b"Hi,here is glp";
const REPLY: &[u8] = b"from server back[rust]:Hi,here is glp";

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/close-log.schema.json")).unwrap()
}

pub(crate) fn validator() -> Validator {
    // The format of the time is part of the promise, and not a comment.
    jsonschema::options().should_validate_formats(true).build(&schema()).unwrap()
}

/// A server that writes its close log to stdout.
fn serve(options: &[&str]) -> Process {
    let base = ["serve", "--listen", "127.0.0.1:0", "--close-log", "-"];
    Process::start(closecall(&[&base, options].concat()))
}

/// Waits for the records of `ended` connections, drains the server, lets the clients in `stay` see
/// our FIN and go, and gives all records.
#[track_caller]
fn records(mut server: Process, ended: usize, stay: Vec<TcpStream>) -> Vec<Value> {
    server.stdout.wait_until(|text| text.matches('\n').count() > ended);
    server.signal("TERM");
    for mut client in stay {
        assert_eq!(reads_on(&mut client).unwrap(), b"", "our FIN");
    }
    assert_eq!(server.exit_code(), 0, "{}", server.stderr.text());
    let text = server.stdout.text();
    text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The verdicts of `records` in alphabetical order. Each record is as the schema says.
#[track_caller]
fn verdicts(records: &[Value]) -> Vec<&str> {
    let validator = validator();
    for record in records {
        let errors: Vec<_> = validator.iter_errors(record).map(|e| e.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{record}");
    }
    let mut verdicts: Vec<_> = records.iter().map(|r| r["verdict"].as_str().unwrap()).collect();
    verdicts.sort_unstable();
    verdicts
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(process::PATIENCE)).unwrap();
    client
}

fn says(address: SocketAddr) -> TcpStream {
    let mut client = connect(address);
    client.write_all(MESSAGE).unwrap();
    client
}

/// Says the message and has read the whole reply.
#[track_caller]
fn echoed(address: SocketAddr) -> TcpStream {
    let mut client = says(address);
    let mut reply = [0; REPLY.len()];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(reply, REPLY);
    client
}

/// Closes with a reset.
fn reset(client: TcpStream) {
    SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Reads until the server's FIN or reset.
fn reads_on(client: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).map_err(|error| error.kind())?;
    Ok(bytes)
}

/// Endings of a peer's making, and one that is drained.
///
/// A process that is stopped, as a shell stops a job, sees all that happened meanwhile at once: so
/// the order of events is forced here, too.
#[track_caller]
fn ended_by_peers() -> Vec<Value> {
    let server = serve(&["--read-deadline", "off"]);
    let address = server.address();
    drop(echoed(address));
    reset(echoed(address));
    let stays = echoed(address);

    server.signal("STOP");
    drop(says(address));
    let mut half_closed = says(address);
    half_closed.shutdown(Shutdown::Write).unwrap();
    drop(connect(address));
    reset(connect(address));
    reset(says(address));
    server.signal("CONT");
    assert_eq!(reads_on(&mut half_closed).unwrap(), REPLY);
    records(server, 7, vec![stays])
}

#[test]
fn what_peers_do_is_recorded_as_the_schema_says() {
    assert_eq!(
        verdicts(&ended_by_peers()),
        [
            "local.drain",
            "peer_fin.delivered",
            "peer_fin.half_close_served",
            "peer_fin.probe",
            "peer_fin.reply_refused",
            "peer_reset.before_reply",
            "peer_reset.probe",
            "peer_reset.reply_acked",
        ]
    );
}

#[test]
fn silence_is_recorded_as_the_schema_says() {
    let server = serve(&["--read-deadline", "100ms", "--verdict-wait", "100ms"]);
    let mut parts = connect(server.address());
    assert_eq!(reads_on(&mut parts).unwrap(), b"", "our FIN");
    drop(parts);
    let _stays_silent = connect(server.address());
    assert_eq!(verdicts(&records(server, 2, Vec::new())), ["timeout.read"; 2]);
}

#[test]
fn a_stall_is_recorded_as_the_schema_says() {
    let server = serve(&["--read-deadline", "off", "--write-deadline", "200ms"]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
    socket.connect(&server.address().into()).unwrap();
    let mut client: TcpStream = socket.into();
    let bytes = vec![b'x'; 1 << 20];
    while client.write_all(&bytes).is_ok() {} // until it is reset
    assert_eq!(verdicts(&records(server, 1, Vec::new())), ["timeout.write_stall"]);
}

#[test]
fn limits_are_recorded_as_the_schema_says() {
    for options in [&["--max-per-ip", "1"][..], &["--max-connections", "1", "--overload", "shed"]] {
        let server = serve(options);
        let stays = echoed(server.address());
        // On a busy machine the reset is there before connect has returned.
        let beyond = TcpStream::connect(server.address());
        let closed = beyond.is_ok_and(|mut beyond| reads_on(&mut beyond).is_ok());
        assert!(!closed, "reset, and not closed");
        let records = records(server, 1, vec![stays]);
        assert_eq!(verdicts(&records), ["local.drain", "local.policy"]);
        assert_eq!(records[0]["local"], Value::Null, "it never had a place here");
    }
}

// ---- what the schema would notice ---------------------------------------------------------------

/// What a field may hold, as people may rely on it, whatever the schema says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Holds {
    Text,
    Count,
    Truth,
}

use Holds::{Count, Text, Truth};

/// The fields, what each holds, and whether it may be null.
const FIELDS: &[(&str, Holds, bool)] = &[
    ("time", Text, false),
    ("id", Count, false),
    ("peer", Text, false),
    ("local", Text, true),
    ("verdict", Text, false),
    ("status", Count, false),
    ("initiator", Text, false),
    ("certainty", Text, false),
    ("errno", Text, true),
    ("via", Text, true),
    ("fin_received", Truth, true),
    ("fin_sent", Truth, false),
    ("rx", Count, false),
    ("discarded", Count, false),
    ("tx", Count, false),
    ("undelivered", Count, true),
    ("unsent", Count, false),
    ("unread", Count, true),
    ("retransmits", Count, true),
    ("probes", Count, true),
    ("duration_ms", Count, false),
    ("verdict_wait_ms", Count, false),
    ("seen_by", Text, false),
];

/// Values that are none of what the field holds.
fn wrong(holds: Holds, may_be_null: bool) -> Vec<Value> {
    let mut wrong = vec![json!([]), json!({}), json!(-1), json!(1.5)];
    if holds != Text {
        wrong.extend([json!(""), json!("1"), json!("true")]);
    }
    if holds != Count {
        wrong.push(json!(1));
    }
    if holds != Truth {
        wrong.push(json!(true));
    }
    if !may_be_null {
        wrong.push(Value::Null);
    }
    wrong
}

#[test]
fn a_field_that_is_missing_renamed_or_of_another_type_is_noticed() {
    let validator = validator();
    for record in ended_by_peers() {
        let fields = record.as_object().unwrap();
        assert_eq!(fields.len(), FIELDS.len(), "{record}");
        for (name, holds, may_be_null) in FIELDS {
            let mut less = fields.clone();
            let value = less.remove(*name).expect(name);
            assert!(!validator.is_valid(&less.clone().into()), "without {name}: {record}");
            less.insert(format!("{name}_"), value);
            assert!(!validator.is_valid(&less.into()), "with {name} renamed: {record}");
            for value in wrong(*holds, *may_be_null) {
                let mut other = record.clone();
                other[name] = value;
                assert!(!validator.is_valid(&other), "{name}: {other}");
            }
            let mut other = record.clone();
            other[name] = Value::Null;
            assert_eq!(validator.is_valid(&other), *may_be_null, "{name}: {other}");
        }
        let mut more = record.clone();
        more["added_later"] = json!({ "may be": "anything" });
        assert!(validator.is_valid(&more), "fields may be added");
    }
}

#[test]
fn a_value_that_was_not_promised_is_noticed() {
    let validator = validator();
    let record = &ended_by_peers()[0];
    assert!(validator.is_valid(record));
    for (name, value) in [
        ("time", json!("2026-11-22 19:00:00.123Z")),
        ("time", json!("2026-11-22T19:00:00Z")),
        ("time", json!("2026-11-22T19:00:00.123+00:00")),
        ("time", json!("2026-13-22T19:00:00.123Z")),
        ("id", json!(0)),
        ("verdict", json!("peer_fin.Delivered")),
        ("verdict", json!("")),
        ("status", json!(4)),
        ("initiator", json!("client")),
        ("certainty", json!("sure")),
        ("via", json!("accept")),
    ] {
        let mut other = record.clone();
        other[name] = value;
        assert!(!validator.is_valid(&other), "{name}: {other}");
    }
}

// ---- views from outside -------------------------------------------------------------------------

/// Fields that only the program that had the connection always knows.
const OF_THE_PROGRAM: [&str; 8] =
    ["id", "fin_sent", "rx", "discarded", "tx", "unsent", "duration_ms", "verdict_wait_ms"];

/// What a capture may tell: half of it, and none of what the server's program knew.
const SEEN_ON_THE_WIRE: &str = r#"{"time":"2026-11-22T19:00:00.123Z","id":null,"peer":"127.0.0.1:50000","local":"127.0.0.1:20003","verdict":"peer_fin.delivered","status":1,"initiator":"peer","certainty":"likely","errno":null,"via":null,"fin_received":true,"fin_sent":null,"rx":null,"discarded":null,"tx":null,"undelivered":null,"unsent":null,"unread":null,"retransmits":null,"probes":null,"duration_ms":null,"verdict_wait_ms":null,"seen_by":"wire"}"#;

#[test]
fn a_record_from_outside_may_lack_what_only_the_program_knows() {
    let validator = validator();
    for seen_by in ["wire", "kernel"] {
        let text = SEEN_ON_THE_WIRE.replace("wire\"}", &format!("{seen_by}\"}}"));
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["seen_by"], seen_by);
        assert!(validator.is_valid(&value), "{text}");
        let record: Record = serde_json::from_str(&text).unwrap();
        assert_eq!((record.id, record.evidence.rx, record.evidence.fin_sent), (None, None, None));
        assert_eq!(serde_json::to_string(&record).unwrap(), text, "it is read as it was written");
    }
}

#[test]
fn what_the_program_knows_is_null_from_outside_only() {
    let validator = validator();
    for record in ended_by_peers() {
        assert!(validator.is_valid(&record), "{record}");
        for name in OF_THE_PROGRAM {
            let mut other = record.clone();
            other[name] = Value::Null;
            assert!(!validator.is_valid(&other), "{name} of the socket: {other}");
            other["seen_by"] = json!("wire");
            assert!(validator.is_valid(&other), "{name} of the wire: {other}");
        }
        for (name, _, may_be_null) in FIELDS {
            let mut other = record.clone();
            other["seen_by"] = json!("wire");
            other[name] = Value::Null;
            let is_valid = *may_be_null || OF_THE_PROGRAM.contains(name);
            assert_eq!(validator.is_valid(&other), is_valid, "{name} of the wire: {other}");
        }
    }
}

/// A field that is not there is a line of another kind, and not a fact that is unknown.
#[test]
fn a_record_without_a_field_that_may_be_null_is_none() {
    for name in OF_THE_PROGRAM {
        let mut fields: Value = serde_json::from_str(SEEN_ON_THE_WIRE).unwrap();
        fields.as_object_mut().unwrap().remove(name).unwrap();
        let record = serde_json::from_value::<Record>(fields);
        let error = record.expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_schema_is_a_schema() {
    jsonschema::meta::validate(&schema()).unwrap();
}
