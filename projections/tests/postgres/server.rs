//! Servers of PostgreSQL of these tests' own: in a folder of their own, behind a port that was free, ended with the process that began them, however that ends.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use holm_projections::postgres::{Client, Config, NoTls};

/// When it is set, a machine without PostgreSQL fails these tests instead of passing them over.
const REQUIRED: &str = "HOLM_TESTS_NEED_POSTGRES";

/// The user that the server knows, and the password by which it comes over TCP.
pub(crate) const USER: &str = "holm";
pub(crate) const PASSWORD: &str = "tested";

/// How often a server is asked whether it is there, and the pause between: half a minute.
const TRIES: u32 = 300;
const PAUSE: Duration = Duration::from_millis(100);

/// Ends the server when its own input ends, and removes its folder unless it begins again.
const KEEPER: &str = r#"
    "$@" & server=$!
    cat > /dev/null
    kill -QUIT $server 2> /dev/null
    wait $server
    [ -e "$0/begins-again" ] || rm -rf "$0"
"#;

pub(crate) struct Server {
    binaries: PathBuf,
    dir: PathBuf,
    port: u16,
    user: Option<(u32, u32)>,
    /// A shell that ends the server when its input ends, as it does when this process dies.
    keeper: Option<Child>,
}

/// The server of all tests that do it no harm; none where there is no PostgreSQL.
pub(crate) fn shared() -> Option<&'static Server> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(|| in_a_thread(Server::start)).as_ref()
}

/// One for a test that ends it.
pub(crate) async fn own() -> Option<Server> {
    tokio::task::spawn_blocking(Server::start).await.unwrap()
}

/// The client of PostgreSQL waits on a runtime of its own, which is not allowed on the threads of another.
fn in_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

impl Server {
    fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            let missing = "no `initdb` and `postgres` in PATH or below /usr/lib/postgresql";
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{REQUIRED} is set, and there is {missing}"
            );
            // What a passing test prints is swallowed, unless it writes to the stream itself.
            let line = format!("skipped: views in PostgreSQL: there is {missing}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        };
        let dir = tempfile::tempdir().unwrap().keep();
        let user = another_user(&dir);
        let mut server = Self { binaries, dir, port: 0, user, keeper: None };
        server.initialize();
        server.begin();
        Some(server)
    }

    fn initialize(&self) {
        let password = self.dir.join("password");
        fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = self.user {
            chown(&self.dir, Some(user), Some(group)).unwrap();
            chown(&password, Some(user), Some(group)).unwrap();
        }
        let mut initdb = self.program("initdb");
        initdb.arg("-D").arg(self.data()).args(["-U", USER, "--auth-local=trust"]);
        initdb.args(["--auth-host=scram-sha-256", "--no-sync", "-E", "UTF8", "--locale=C"]);
        let said = initdb.arg("--pwfile").arg(&password).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    }

    /// Begins it where its data are, and waits until it answers.
    pub(crate) fn begin(&mut self) {
        let mark = self.dir.join("begins-again");
        fs::write(&mark, "").unwrap();
        self.end_keeper();
        fs::remove_file(mark).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.dir.join("log")).unwrap();
        if self.port == 0 {
            self.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        }
        let mut keeper = self.as_user("sh");
        // What is behind its name are the words of the server's command. The folder goes with the last of them, also that of a server that is never dropped.
        keeper.args(["-c", KEEPER]).arg(&self.dir);
        keeper.arg(self.binaries.join("postgres")).arg("-D").arg(self.data());
        keeper.arg("-k").arg(&self.dir).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", "max_connections=300"] {
            keeper.args(["-c", setting]);
        }
        keeper.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        self.keeper = Some(keeper.spawn().unwrap());
        self.wait();
    }

    #[expect(clippy::disallowed_methods, reason = "a server is asked until it answers, here alone")]
    fn wait(&self) {
        let config = self.config();
        for _ in 0..TRIES {
            if in_a_thread(|| config.connect(NoTls).map(drop)).is_ok() {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("{}", fs::read_to_string(self.dir.join("log")).unwrap());
    }

    /// As a loss of power for the server, not for its disk.
    pub(crate) fn kill(&self) {
        let pids = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pids.lines().next().unwrap();
        assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
    }

    /// Over its socket, where nobody is asked for a password.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config.host_path(&self.dir).port(self.port).user(USER).dbname("postgres");
        config
    }

    /// Over TCP.
    pub(crate) fn config_tcp(&self) -> Config {
        let mut config = Config::new();
        config.host("127.0.0.1").port(self.port).user(USER).password(PASSWORD).dbname("postgres");
        config
    }

    /// Does something as somebody else who knows the server.
    pub(crate) fn as_a_stranger<T: Send>(&self, work: impl FnOnce(&mut Client) -> T + Send) -> T {
        let config = self.config();
        in_a_thread(|| work(&mut config.connect(NoTls).unwrap()))
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn program(&self, name: &str) -> Command {
        self.as_user(self.binaries.join(name))
    }

    fn as_user(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }

    fn end_keeper(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            drop(keeper.stdin.take());
            keeper.wait().unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end_keeper();
    }
}

/// Where the programs are: where somebody put them, or the newest that the system has.
fn binaries() -> Option<PathBuf> {
    let has_both = |dir: &PathBuf| dir.join("initdb").exists() && dir.join("postgres").exists();
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(dir) = std::env::split_paths(&path).find(has_both) {
        return fs::canonicalize(dir.join("postgres")).ok()?.parent().map(Path::to_owned);
    }
    let versions = match fs::read_dir("/usr/lib/postgresql") {
        Ok(versions) => versions,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => panic!("{error}"),
    };
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            Some((number, path.join("bin"))).filter(|(_, dir)| has_both(dir))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, dir)| dir)
}

/// A server does not run as root: then it is another user's. None where this process is nobody special, which shows in whose its folder is.
fn another_user(dir: &Path) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    if fs::metadata(dir).unwrap().uid() != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(of("postgres").or_else(|| of("nobody")).expect("a user for the server"))
}
