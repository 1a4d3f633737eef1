//! A node as a process under strangers: each is refused with a line in its log that says why, and the node serves on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use holm_console::node::ReadyLine;

const PATIENCE: Duration = Duration::from_secs(20);

/// A member of a cluster of one, with a secret, and what it logs.
struct Member {
    child: Child,
    ready: ReadyLine,
    log: Receiver<String>,
}

impl Member {
    fn start(dir: &std::path::Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holm"));
        command.arg("node").current_dir(dir).env_clear().env("NO_COLOR", "1").envs([
            ("HOLM_HTTP__BIND", "127.0.0.1:0"),
            ("HOLM_NODE__NAME", "islet"),
            ("HOLM_CLUSTER__NAME", "dev"),
            ("HOLM_CLUSTER__LISTEN", "127.0.0.1:0"),
            ("HOLM_CLUSTER__EXPECTED_NODES", "1"),
            ("HOLM_CLUSTER__SHARDS", "4"),
            ("HOLM_CLUSTER__SECRET", "s3cret"),
        ]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (tell, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::Builder::new()
            .spawn(move || {
                stderr.lines().map_while(Result::ok).for_each(|line| _ = tell.send(line));
            })
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, ready, log }
    }

    /// Says something on a new connection to the peers' port, and gives the node's answer.
    fn hear(&self, said: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.ready.peer.as_deref().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(said).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // The rest of what was written may come back as a reset behind the answer.
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The next line of the log that holds this.
    fn logged(&self, wanted: &str) -> String {
        loop {
            let line = self.log.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|_| panic!("nothing in the log holds `{wanted}`"));
            if line.contains(wanted) {
                return line;
            }
        }
    }

    fn resident_kibibytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    fn serves(&self) {
        let url = format!("{}/api/v1/cluster", self.ready.http);
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        assert_eq!(client.get(url).send().unwrap().status().as_u16(), 200);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hello as `docs/wire-format.md` says: versions, cluster, and a hail without features, id and addresses.
fn hello(versions: (u16, u16), cluster: &str) -> Vec<u8> {
    let mut body = [versions.0.to_le_bytes(), versions.1.to_le_bytes()].concat();
    body.extend_from_slice(&u16::try_from(cluster.len()).unwrap().to_le_bytes());
    body.extend_from_slice(cluster.as_bytes());
    body.extend_from_slice(&[0; 8 + 32 + 8 + 8]);
    body.extend_from_slice(&[1, 0, b'x', 0, 0, 0, 0]);
    message(1, &body)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_le_bytes();
    [b"HOLM", &[kind][..], &length, body].concat()
}

#[test]
fn strangers_are_refused_with_a_line_and_the_node_serves_on() {
    let dir = tempfile::tempdir().unwrap();
    let member = Member::start(dir.path());
    let before = member.resident_kibibytes();
    let proof = |bytes: &[u8]| {
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        message(3, &[&length[..], bytes].concat())
    };
    for (said, why) in [
        (hello((1, 1), "other"), "this is cluster `dev`, the dialler looks for `other`"),
        (hello((40, 41), "dev"), "the dialler speaks protocols 40 to 41"),
        ([hello((1, 1), "dev"), proof(&[])].concat(), "the other side has no secret"),
        ([hello((1, 1), "dev"), proof(&[7; 32])].concat(), "the secrets differ"),
        ([hello((1, 1), "dev"), hello((1, 1), "dev")].concat(), "out of turn"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "protocol between nodes"),
        ([&b"HOLM"[..], &[1, 255, 255], &[0; 64]].concat(), "at most 4096 bytes"),
        (message(1, &[1, 0, 1, 0, 255, 255]), "cannot be read"),
    ] {
        let answer = String::from_utf8_lossy(&member.hear(&said)).into_owned();
        assert!(answer.contains(why), "{why}: {answer:?}");
        let line = member.logged(why);
        assert!(line.contains("WARN") && line.contains("refused a connection"), "{line}");
        member.serves();
    }
    // One that is cut off in the middle is no refusal: it went away by itself.
    assert!(member.hear(&hello((1, 1), "dev")[..20]).is_empty());
    member.serves();
    let grown = member.resident_kibibytes().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
}
