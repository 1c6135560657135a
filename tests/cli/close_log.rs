//! The close log is a contract, too: its fields and their order, where it goes, and what is counted
//! when it cannot go there.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use closecall::machine::close::Kind;
use serde_json::Value;

use crate::process::Process;
use crate::{come_and_go, connect, echo, row, serve, stop};

/// A file of one test, gone when it is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let name = format!("closecall-test-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        Scratch(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/close-log.schema.json")).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// The names of a line's fields, in their order: no value of ours has a quote and a colon in it.
fn fields(line: &str) -> Vec<&str> {
    let before_colons = line.split("\":").map(|part| part.rsplit('"').next().unwrap());
    let mut fields: Vec<_> = before_colons.collect();
    fields.pop(); // what follows the last colon
    fields
}

#[test]
fn the_schema_knows_every_verdict_and_describes_every_field() {
    let schema = schema();
    let verdicts = names(&schema["properties"]["verdict"]["enum"]);
    assert_eq!(verdicts, Kind::all().map(Kind::name).collect::<Vec<_>>());
    let required: BTreeSet<_> = names(&schema["required"]).into_iter().collect();
    let described = schema["properties"].as_object().unwrap();
    assert_eq!(required, described.keys().map(String::as_str).collect());
    assert!(described.values().all(|field| field["description"].is_string()));
}

#[test]
fn a_record_has_the_fields_of_the_schema_in_their_order() {
    let file = Scratch::new("order");
    let mut server = serve(&["--close-log", file.path()]);
    let address = server.address();
    let mut client = connect(address);
    echo(&mut client);
    let peer = client.local_addr().unwrap();
    drop(client);
    come_and_go(address, 1);
    let stderr = stop(&mut server);

    let schema = schema();
    let text = fs::read_to_string(&file.0).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert_eq!(row(&stderr, "close log: records lost"), None);
    for line in text.lines() {
        assert_eq!(fields(line), names(&schema["required"]), "{line}");
        let record: Value = serde_json::from_str(line).unwrap();
        let verdict = record["verdict"].as_str().unwrap();
        assert!(names(&schema["properties"]["verdict"]["enum"]).contains(&verdict), "{line}");
        for (field, value) in
            [("rx", 14), ("tx", 37), ("discarded", 0), ("unsent", 0), ("status", 1)]
        {
            assert_eq!(record[field], value, "{field}: {line}");
        }
        assert_eq!(record["local"], address.to_string());
        let time = record["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && &time[10..11] == "T", "{line}");
    }
    assert!(text.contains(&format!("\"peer\":\"{peer}\"")), "{text}");
}

#[test]
fn the_file_is_appended_to() {
    let file = Scratch::new("append");
    fs::write(&file.0, "before\n").unwrap();
    for _ in 0..2 {
        let mut server = serve(&["--close-log", file.path()]);
        come_and_go(server.address(), 1);
        stop(&mut server);
    }
    let text = fs::read_to_string(&file.0).unwrap();
    assert!(text.starts_with("before\n{") && text.lines().count() == 3, "{text}");
}

#[test]
fn on_stdout_the_addresses_come_first() {
    let mut server = serve(&["--close-log", "-"]);
    come_and_go(server.address(), 300);
    stop(&mut server);
    let stdout = server.stdout.text();
    let mut lines = stdout.lines();
    assert!(lines.next().unwrap().starts_with("listening on "), "{stdout}");
    let ids: Vec<u64> = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, (1..=300).collect::<Vec<_>>());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_costs_records_which_are_counted() {
    let mut server = serve(&["--close-log", "/dev/full"]);
    come_and_go(server.address(), 100);
    server.stderr.wait_for("cannot write the close log: ");
    come_and_go(server.address(), 100);
    let stderr = stop(&mut server);
    assert_eq!(
        stderr.matches("cannot write the close log: ").count(),
        1,
        "once an episode: {stderr}"
    );
    assert!(stderr.contains("200 close log records were lost"), "{stderr}");
    assert_eq!(row(&stderr, "close log: records lost"), Some(200));
    assert_eq!(row(&stderr, "accepted"), Some(200));
}

#[test]
fn a_reader_who_leaves_costs_records_which_are_counted() {
    let mut command = crate::process::closecall(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--close-log",
        "-",
        "--read-deadline",
        "off",
    ]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap().parse().unwrap();
    drop(stdout);
    let mut server = Process::of(child);
    // A process that another test starts at this moment has the pipe's other end until its exec.
    let mut tried = 0;
    while !server.stderr.text().contains("cannot write the close log: ") {
        come_and_go(address, 1);
        tried += 1;
    }
    come_and_go(address, 50);
    let stderr = stop(&mut server);
    let lost = row(&stderr, "close log: records lost").unwrap();
    assert!((51..=50 + tried).contains(&lost), "of {tried} and 50: {stderr}");
}

/// As on a system that does not tell: what cannot be known is null, and nothing is claimed.
#[test]
fn without_probes_nothing_is_invented() {
    let scratch = Scratch::new("no-probes");
    let mut server = serve(&["--no-probes", "--verdict-wait", "0s", "--close-log", scratch.path()]);
    come_and_go(server.addresses(1)[0], 1);
    stop(&mut server);
    let log = fs::read_to_string(&scratch.0).unwrap();
    let record: Value = serde_json::from_str(log.trim_end()).unwrap();
    assert_eq!(record["verdict"], "peer_fin.unconfirmed");
    assert_eq!((&record["certainty"], &record["tx"]), (&"unknown".into(), &37.into()));
    for field in ["undelivered", "retransmits", "probes"] {
        assert_eq!(record[field], Value::Null, "{field}");
    }
}
